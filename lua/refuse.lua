-- Records that this key's request is refused, before that is answered and before anything is released (DESIGN.md section 7, fence 4).
--
-- KEYS[1]  idem:{p}:HASH
-- ARGV     p, fp, attempt; status and body of the answer to the client
-- answers  OK
--          REPLAY id n state age: decided as that order, by attempt n
--          REFUSED status body: refused before
--          ABORTED n: this attempt may no longer decide
--          KEY_REUSED
-- writes   KEYS[1]

local takes = arguments.of('refuse', 'idem', 'partition fp positive positive bytes')

local function refuse(keys, args)
    local no, now = guard.enter(takes, keys, args)
    if no then return no end
    local p, fp, attempt = args[1], args[2], args[3]

    local decided = idem.placed_already(keys[1], p, fp, attempt, now)
    if decided then
        return decided
    end
    idem.write(keys[1], fp, 'refused', 'status', args[4], 'body', args[5])
    return {code.OK}
end
