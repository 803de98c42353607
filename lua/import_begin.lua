-- An import under an Idempotency-Key begins, or goes on: the key belongs to its request from here on, before any of its products is written.
--
-- KEYS[1]  idem:{p}:HASH
-- ARGV     p, fp
-- answers  OK: go on
--          KEY_REUSED
-- writes   KEYS[1]

local takes = arguments.of('import_begin', 'idem', 'partition fp')

local function import_begin(keys, args)
    local no = guard.enter(takes, keys, args)
    if no then return no end

    if idem.read(keys[1], args[2]) == 'reused' then
        return {code.KEY_REUSED}
    end
    idem.write(keys[1], args[2], 'open')
    return {code.OK}
end
