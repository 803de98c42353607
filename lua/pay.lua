-- The intent to pay for an order: the payment and its key at the gateway exist before the gateway is called.
--
-- KEYS[1]  order:{p}:ID
-- ARGV     p, order id; hash (names idem:{p}:HASH), fp; amount: the order's total, or empty; op: charge or authorize; capture: automatic or manual;
--          doc of the payment; request; due_ms: how long until the gateway may be asked what became of it
-- answers  OK payment_id amount currency created v op
--          REPLAY payment_id v: this key's payment has its outcome, version v
--          IN_FLIGHT payment_id: it has none yet
--          NOT_FOUND, KEY_REUSED
--          ILLEGAL state payment_status: not reserved, or too many attempts
--          PAYMENT_OPEN payment_id
--          EXPIRED: reserved still, but its time is over
--          AMOUNT total
-- state    payment (none) → processing; order's payment_status none → pending
-- writes   KEYS[1], idem:{p}:HASH, seq:{p}, payment:{p}:ID, payments:{p}, payments:{p}:user:…, payments:{p}:in:processing, txn:{p}:pay,
--          orders:{p}:in:…, events:{p}

local takes = arguments.of('pay', 'order', 'partition id hash fp count? charge|authorize automatic|manual bytes bytes ms')

local ATTEMPTS_MAX = 20

local function attempts(order)
    local _, count = order.payments:gsub('%d+', '')
    return count
end

-- Why this order cannot be paid now, as an answer, or nil.
local function refused(order, amount, now)
    if not order then
        return {code.NOT_FOUND}
    elseif not states.order.pay[order.state] then
        return {code.ILLEGAL, order.state, order.payment_status}
    end
    local latest = orders.latest_payment(order)
    if latest and states.payment_open[latest.status] then
        return {code.PAYMENT_OPEN, latest.id}
    elseif now >= order.expires then
        return {code.EXPIRED}
    elseif amount ~= '' and amount ~= order.total then
        return {code.AMOUNT, order.total}
    elseif attempts(order) >= ATTEMPTS_MAX then
        return {code.ILLEGAL, order.state, order.payment_status}
    end
    return nil
end

local function pay(keys, args)
    local no, now, now_us = events.enter(takes, keys, args)
    if no then return no end
    local p, hash, fp, action, request = args[1], args[3], args[4], args[6], args[9]
    local record = key.idem(p, hash)

    local decision, known = idem.read(record, fp, 'id', 'v')
    local order = orders.read(p, args[2])
    local answer = payments.known(decision, record, {code.IN_FLIGHT, known[3]}, {code.REPLAY, known[3], known[4]}) or refused(order, args[5], now)
    if answer then
        return answer
    end

    local partitions = guard.partitions()

    local sequence = call('HINCRBY', key.sequences(p), 'payment', 1)
    local id = int.text(sequence * partitions + p)
    local op = payments.create({p = p, id = id, order_id = order.id, amount = order.total, currency = order.currency, action = action,
        capture = args[7], ikey = hash, user = order.user, doc = args[8]}, now, now_us, request)
    idem.write(record, fp, 'open', 'id', id)
    index.payment_duty(p, id, now + args[10])
    orders.move(order, {payment_status = 'pending', payment = id, cause = 'pay', request = request}, now,
        'payments', order.payments == '' and id or order.payments .. ',' .. id)
    return {code.OK, id, order.total, order.currency, now, 1, op}
end
