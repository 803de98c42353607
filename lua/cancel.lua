-- Ends an order before it is fulfilled. Its units go back, money taken for it is owed back, an authorization is to be voided.
--
-- KEYS[1]  order:{p}:ID
-- ARGV     p, id; hash (names idem:{p}:HASH), fp; reason: text of the client, may be empty; request
-- answers  OK v state payment_status age
--          REPLAY v: done before by this key
--          NOT_FOUND, KEY_REUSED
--          ALREADY v: cancelled before, by another key
--          ILLEGAL state payment_status
--          PAYMENT_OPEN id: a payment is processing or unknown; what became of it must be known first
-- state    reserved, paid → cancelled; payment_status paid, partially_refunded → refund_due
-- writes   KEYS[1], idem:{p}:HASH, orders:{p}:in:…, events:{p}, txn:{p}; txn:{p}:pay, payments:{p}:refund_due

local takes = arguments.of('cancel', 'order', 'partition id hash fp bytes bytes')

local function cancel(keys, args)
    local no, now = events.enter(takes, keys, args)
    if no then return no end
    local p, id, fp = args[1], args[2], args[4]
    local record = key.idem(p, args[3])

    local order = orders.read(p, id)
    local payment = order and orders.latest_payment(order)
    local answer, kept = orders.refused(order, 'cancel', record, fp)
    if answer then
        return orders.keep(kept, record, fp, args[6], answer)
    end
    if payment and states.payment_at_gateway[payment.status] then
        return {code.PAYMENT_OPEN, payment.id}
    end

    local owed = states.order_captured[order.payment_status] and order.total ~= '0' -- what costs nothing leaves nothing to give back
    orders.move(order, {state = 'cancelled', payment_status = owed and 'refund_due' or nil, cause = 'cancel', request = args[6]}, now,
        'reason', args[5])
    index.order_duty(p, id, now)
    if owed then
        index.refund_due(p, payment.id, payment.created_us)
    end
    if owed or payment and payment.status == 'authorized' then
        index.payment_duty(p, payment.id, now)
    end
    idem.write(record, fp, 'done', 'v', int.text(order.v))
    return {code.OK, order.v, order.state, order.payment_status, orders.age(order, now)}
end
