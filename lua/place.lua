-- The commit point of an order: order, idempotency record, duty, indexes and event in one call.
--
-- KEYS[1]  idem:{p}:HASH
-- ARGV     p; fp, attempt and t = HASH.fp.attempt; user, total, currency, hold_ms, doc, request
-- answers  OK id created expires
--          REPLAY id n state age: the key is decided as that order, by attempt n
--          REFUSED status body: the key is decided as refused
--          ABORTED n: this attempt may no longer place; n is the highest such one
--          KEY_REUSED
-- state    (none) → reserved
-- writes   KEYS[1], seq:{p}, order:{p}:ID, txn:{p}, orders:{p}, orders:{p}:in:…, orders:{p}:user:…, events:{p}

local takes = arguments.of('place', 'idem', 'partition fp positive txn text count currency ms bytes bytes')

local function place(keys, args)
    local no, now, now_us = events.enter(takes, keys, args)
    if no then return no end
    local p, fp, attempt, t = args[1], args[2], args[3], args[4]
    if not keys[1]:find(t:sub(1, 32), 1, true) or t:sub(34) ~= fp .. '.' .. attempt then
        return redis.error_reply('ERR souk: bad argument 4 of place')
    end

    local decided, has_expiry = idem.placed_already(keys[1], p, fp, attempt, now)
    if decided then
        return decided
    end
    local partitions = guard.partitions()

    local sequence = call('HINCRBY', key.sequences(p), 'order', 1)
    local id = int.text(sequence * partitions + p)
    idem.place(keys[1], fp, id, attempt, has_expiry)
    local new = {user = args[5], total = args[6], currency = args[7], hold_ms = args[8], doc = args[9], t = t}
    local expires = orders.create(p, id, new, now, now_us, args[10])
    return {code.OK, id, now, expires}
end
