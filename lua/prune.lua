-- Lets go of the idempotency records of orders that were placed more than 24 hours ago, oldest first. Until then, and while an order has units or a
-- duty, a hold may still ask what its key was decided to be. Whoever was told that just now may act on it a while later, so a record goes as late as
-- a mark does.
--
-- KEYS[1]  orders:{p}
-- ARGV     p; most: how many at once
-- answers  OK pruned
-- writes   idem:{p}:HASH of each, seq:{p} field pruned: the creation time (µs) of the last one, where the next call goes on

local takes = arguments.of('prune', 'orders', 'partition positive')

local KEPT_MS = 86400000

-- The idempotency record of an order that needs it no longer, else nil.
local function prunable(p, id, now)
    local order = call('HMGET', key.order(p, id), 'state', 'created', 't')
    if now - order[2] < KEPT_MS or not states.order_ended[order[1]] or call('ZSCORE', key.order_duties(p), id) then
        return nil
    end
    return key.idem(p, order[3]:sub(1, 32))
end

-- Walks from ${after}. Returns the records to remove and the creation time of the last order among those walked.
local function walk(p, after, most, now)
    local records, last = {}, after
    local found = call('ZRANGEBYSCORE', key.orders(p), '(' .. after, '+inf', 'WITHSCORES', 'LIMIT', '0', most)
    for i = 1, #found, 2 do
        local record = prunable(p, found[i], now)
        if not record then
            break
        end
        -- The key may have been used again meanwhile only if the record was removed before; then it is not this order's.
        if call('HGET', record, 'id') == found[i] then
            records[#records + 1] = record
        end
        last = found[i + 1]
    end
    return records, last
end

local function prune(keys, args)
    local no, now = guard.enter(takes, keys, args)
    if no then return no end
    local p = args[1]

    local after = call('HGET', key.sequences(p), 'pruned') or '0'
    local records, last = walk(p, after, args[2], now)

    for i = 1, #records do
        call('PEXPIRE', records[i], int.text(holds.MARK_KEPT_MS))
    end
    if last ~= after then
        call('HSET', key.sequences(p), 'pruned', last)
    end
    return {code.OK, #records}
end
