-- More or fewer units on hand: a delivery, a loss, a count.
--
-- KEYS[1]  idem:{p}:HASH
-- ARGV     p, fp, id; kind: delta (n is added, may be negative) or set (n is the new on_hand); n; expected: the on_hand that the caller saw, or
--          empty; reason: text for the ledger; request
-- answers  OK on_hand held committed v
--          REPLAY on_hand held committed v: done before by this key, as they were then
--          KEY_REUSED
--          REFUSED again request NOT_FOUND: there is no such product
--          REFUSED again request SHORT available: more than that cannot go
--          REFUSED again request UNEXPECTED on_hand held committed v
--          The last three are the key's outcome from then on
-- writes   KEYS[1], stock:{p}:ID, moves:{p}:ID

local takes = arguments.of('stock_adjust', 'idem', 'partition fp id delta|set signed count? bytes bytes')

local ADJUST = {kind = 'adjust', units = {on_hand = 1}}

-- Why that cannot be, as an answer, or nil; and by how many units on_hand changes.
local function judge(counters, kind, n, expected)
    if not counters then
        return {code.NOT_FOUND}
    end
    local delta, available = kind == 'delta' and n or n - counters.on_hand, stock.available(counters)
    if expected ~= '' and counters.on_hand ~= tonumber(expected) then
        return {code.UNEXPECTED, counters.on_hand, counters.held, counters.committed, counters.v}
    elseif available + delta < 0 then
        return {code.SHORT, available}
    end
    return nil, delta
end

local function stock_adjust(keys, args)
    local no = guard.enter(takes, keys, args)
    if no then return no end
    local p, fp, id, kind, n, expected, reason = args[1], args[2], args[3], args[4], tonumber(args[5]), args[6], args[7]

    local decision, record = idem.read(keys[1], fp, 'on_hand', 'held', 'committed', 'v')
    if decision == 'reused' then
        return {code.KEY_REUSED}
    elseif decision == 'refused' then
        return idem.refusal(keys[1])
    elseif decision then
        return {code.REPLAY, record[3], record[4], record[5], record[6]}
    end
    local counters = stock.read(p, id)
    local refusal, delta = judge(counters, kind, n, expected)
    if refusal then
        return idem.refuse(keys[1], fp, args[8], refusal)
    elseif counters.on_hand + delta > int.MAX then
        return redis.error_reply('ERR souk: bad argument 5 of stock_adjust')
    end

    stock.change(counters, ADJUST, delta, '', '', reason)
    idem.write(keys[1], fp, 'done', 'on_hand', int.text(counters.on_hand), 'held', int.text(counters.held),
        'committed', int.text(counters.committed), 'v', int.text(counters.v))
    return {code.OK, counters.on_hand, counters.held, counters.committed, counters.v}
end
