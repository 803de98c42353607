-- flags: no-writes
-- How many there are of what, and what is owed, in some partitions of this shard: from the sizes of the indexes, without reading records but those
-- that are due.
--
-- KEYS[1]  souk:shard
-- ARGV     the partitions with commas between them
-- answers  OK now products refund_due [state payment_status n …] [payment's status n …], then the duties of orders, those of payments, and the looks
--          at holds: of each [listed, due, of these since more than 10 s, 1 min, 10 min, the age of the oldest in ms]. Pairs and statuses with 0 are
--          left out

local takes = arguments.of('census', nil, 'partitions')

-- The commonest first: when as many are found as there are, the others are not asked for.
local STATES = {'fulfilled', 'paid', 'cancelled', 'expired', 'reserved'}
local PAYMENT_STATUSES = {'paid', 'none', 'refunded', 'partially_refunded', 'refund_due', 'pending', 'authorized'}
local STATUSES_OF_PAYMENTS = {'succeeded', 'failed', 'refunded', 'partially_refunded', 'voided', 'expired', 'authorized', 'processing', 'unknown'}

-- A duty that a sweep has named is due again 5 s later, so what stands in its list as due by then may have been due for long.
local NAMED_MS = 5000
local LOOKED_MAX = '64' -- at so many of a partition
local AGES_MS = {10000, 60000, 600000}

-- Sums by name; the names stand in the list in the order in which they came.
local function add(sums, name, n)
    if n > 0 and not sums[name] then
        sums[#sums + 1] = name
    end
    if n > 0 then
        sums[name] = (sums[name] or 0) + n
    end
end

local function count_orders(p, sums)
    local left = call('ZCARD', key.orders(p))
    for s = 1, #STATES do
        for t = 1, #PAYMENT_STATUSES do
            if left <= 0 then
                return
            end
            local n = call('ZCARD', key.orders_in(p, STATES[s], PAYMENT_STATUSES[t]))
            add(sums, STATES[s] .. '|' .. PAYMENT_STATUSES[t], n)
            left = left - n
        end
    end
end

local function count_payments(p, sums)
    local left = call('ZCARD', key.payments(p))
    for s = 1, #STATUSES_OF_PAYMENTS do
        if left <= 0 then
            return
        end
        local n = call('ZCARD', key.payments_in(p, STATUSES_OF_PAYMENTS[s]))
        add(sums, STATUSES_OF_PAYMENTS[s], n)
        left = left - n
    end
end

-- Since when it is owed, which the record tells: its list is moved on with every attempt.
local function since_of_order(p, id)
    local state, expires, updated = unpack(call('HMGET', key.order(p, id), 'state', 'expires', 'updated'))
    return state == 'reserved' and expires or updated
end

local function since_of_payment(p, id)
    return call('HMGET', key.payment(p, id), 'updated')[1]
end

local function since_of_look(p, id)
    return call('HMGET', key.stock(p, id), 'ask')[1]
end

local function count_due(owed, age)
    if age <= 0 then
        return
    end
    owed[2] = owed[2] + 1
    for n = 1, #AGES_MS do
        owed[n + 2] = owed[n + 2] + (age > AGES_MS[n] and 1 or 0)
    end
    owed[6] = math.max(owed[6], age)
end

local function count_duties(list, p, since_of, now, owed)
    owed[1] = owed[1] + call('ZCARD', list)
    local due = call('ZRANGEBYSCORE', list, '-inf', int.text(now + NAMED_MS), 'LIMIT', '0', LOOKED_MAX)
    for n = 1, #due do
        local since = since_of(p, due[n])
        count_due(owed, since and now - tonumber(since) or 0)
    end
end

-- The sums of name|name as a list: name, name, n, …
local function listed(sums)
    local list = {}
    for i = 1, #sums do
        for name in sums[i]:gmatch('[^|]+') do
            list[#list + 1] = name
        end
        list[#list + 1] = sums[sums[i]]
    end
    return list
end

local function census(keys, args)
    local wrong = arguments.wrong(takes, keys, args, 0)
    if wrong then return wrong end
    local now = clock.read()
    local products, refund_due, orders_in, payments_in = 0, 0, {}, {}
    local of_orders, of_payments, looks = {0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0}

    for p in args[1]:gmatch('%d+') do
        products = products + call('ZCARD', key.products(p))
        refund_due = refund_due + call('ZCARD', key.refund_due(p))
        count_orders(p, orders_in)
        count_payments(p, payments_in)
        count_duties(key.order_duties(p), p, since_of_order, now, of_orders)
        count_duties(key.payment_duties(p), p, since_of_payment, now, of_payments)
        count_duties(key.asks(p), p, since_of_look, now, looks)
    end
    return {code.OK, now, products, refund_due, listed(orders_in), listed(payments_in), of_orders, of_payments, looks}
end
