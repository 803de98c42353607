-- flags: no-writes
-- A payment with what is left to do for it, and its order's state.
--
-- KEYS[1]  payment:{p}:ID
-- ARGV     p, id
-- answers  OK now duty duty_n status v order_id amount currency captured refunded refunding op capture created updated gateway_ref failure ikey
--          refunds doc order_state order_payment_status age: duty is none, reconcile, void, refund or reconcile_refund; duty_n: which refund, 0 if
--          none is meant; age of the order
--          NOT_FOUND

local takes = arguments.of('payment_read', 'payment', 'partition id')

local function payment_read(keys, args)
    local wrong = arguments.wrong(takes, keys, args, 0)
    if wrong then return wrong end
    local now = clock.read()

    local payment = payments.read(args[1], args[2])
    local order = payment and orders.read(args[1], payment.order_id)
    if not order then
        return {code.NOT_FOUND}
    end
    local duty, n = payments.duty(payment, order.state)
    return {code.OK, now, duty, n or 0, payment.status, payment.v, payment.order_id, payment.amount, payment.currency, payment.captured,
        payment.refunded, payment.refunding, payment.op, payment.capture, payment.created, payment.updated, payment.gateway_ref, payment.failure,
        payment.ikey, payment.refunds, payment.doc, order.state, order.payment_status, orders.age(order, now)}
end
