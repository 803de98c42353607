-- A worker has done what it could for a payment's duty. Is anything left?
--
-- KEYS[1]  payment:{p}:ID
-- ARGV     p, id
-- answers  OK: nothing is left, the payment has left txn:{p}:pay
--          OK ms: something is, and is due in so many ms, 0: now
-- writes   txn:{p}:pay

local takes = arguments.of('pay_done', 'payment', 'partition id')

local DUE_AGAIN_MS = 5000

local function pay_done(keys, args)
    local no, now = guard.enter(takes, keys, args)
    if no then return no end
    local p, id = args[1], args[2]

    local payment = payments.read(p, id)
    local order = payment and orders.read(p, payment.order_id)
    if not payment or payments.duty(payment, order and order.state) == 'none' then
        call('ZREM', key.payment_duties(p), id)
        return {code.OK}
    end
    local due = call('ZSCORE', key.payment_duties(p), id)
    if not due then
        due = now + DUE_AGAIN_MS
        index.payment_duty(p, id, due)
    end
    return {code.OK, math.max(0, due - now)}
end
