-- What became of transaction HASH.fp.attempt? The question itself aborts it when nothing was decided (DESIGN.md section 5, fence 2).
--
-- KEYS[1]  idem:{p}:HASH
-- ARGV     p, fp, attempt
-- answers  OK verdict ms decided id n
--          verdict: reserved (ms until it expires), paid, fulfilled, cancelled, expired (ms: its age), or aborted (ms: the highest aborted attempt
--          of this fingerprint)
--          decided: what the key is decided as: placed (then as order id, by attempt n), refused, or empty: nothing yet
-- writes   KEYS[1], when nothing was decided

local takes = arguments.of('settle', 'idem', 'partition fp positive')

local function placed(p, id, attempt, now)
    local order = orders.read(p, id)
    local ms = order.state == 'reserved' and math.max(0, order.expires - now) or orders.age(order, now)
    return {code.OK, order.state, ms, 'placed', id, attempt}
end

local function settle(keys, args)
    local no, now = guard.enter(takes, keys, args)
    if no then return no end
    local p, fp, attempt = args[1], args[2], args[3]

    local record = call('HMGET', keys[1], 'fp', 's', 'id', 'n', 'a:' .. fp)
    local decision, id, n = record[2], record[3], record[4]
    if decision == 'placed' and record[1] == fp and n == attempt then
        return placed(p, id, attempt, now)
    end
    local aborted = math.max(tonumber(record[5] or 0), tonumber(attempt))
    if decision and decision ~= 'aborted' then
        return {code.OK, 'aborted', aborted, decision, id or '', n or ''}
    end
    idem.abort(keys[1], fp, int.text(aborted))
    return {code.OK, 'aborted', aborted, '', '', ''}
end
