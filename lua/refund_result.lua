-- What the gateway said of a refund.
--
-- KEYS[1]  payment:{p}:ID
-- ARGV     p, id, n; result: succeeded, failed or unknown; failure: the gateway's code, empty if none; request; due_ms: how long until the gateway is
--          asked about what is still not known
-- answers  OK v status payment_status refund_status: of the payment, of its order, of the refund as its client is to be shown it
--          ALREADY refund_status: this refund is decided; likewise
--          NOT_FOUND
-- state    the refund: pending, unknown → succeeded, failed, unknown; the payment: succeeded, partially_refunded → partially_refunded, refunded
-- writes   KEYS[1], payments:{p}:in:…, txn:{p}:pay, idem:{p}:HASH; order:{p}:ID, orders:{p}:in:…, events:{p}, payments:{p}:refund_due
--
-- An order that ended stays refund_due until all that was captured is refunded; a refund of it that failed is tried again after a pause.

local takes = arguments.of('refund_result', 'payment', 'partition id positive succeeded|failed|unknown bytes bytes ms')

-- Brings ${payment} to what the result means. Returns its status then. A refund that is unknown stays counted as under way.
local function take_in(payment, refund, result)
    if result == 'unknown' then
        return payment.status
    end
    payment.refunding = payment.refunding - refund.amount
    if result == 'failed' then
        return payment.status
    end
    payment.refunded = payment.refunded + refund.amount
    return payment.refunded == payment.captured and 'refunded' or 'partially_refunded'
end

local function refund_result(keys, args)
    local no, now = events.enter(takes, keys, args)
    if no then return no end
    local p, n, result, request, due_ms = args[1], args[3], args[4], args[6], tonumber(args[7])

    local payment = payments.read(p, args[2])
    local order = payment and orders.read(p, payment.order_id)
    local refund = order and payments.refund(payment, n)
    if not refund then
        return {code.NOT_FOUND}
    end
    local told = payments.told(payment, refund.ikey, 'status')
    if not payments.refund_open(refund) then
        return {code.ALREADY, told or refund.status}
    end

    local again = refund.status == result
    if again then
        payments.set_duty(payment, order.state, now, due_ms, 0)
    else
        local cause = 'refund_' .. result
        payments.decide(payment, refund.ikey, 'status', result, 'v', int.text(payment.v + 1))
        local status = take_in(payment, refund, result)
        refund.status, refund.updated = result, int.text(now)
        payments.move(payment, {status = status, cause = cause, failure = args[5], request = request}, now,
            'refund' .. n, payments.refund_text(refund))
        payments.follow(payment, order, {cause = cause, request = request}, now, due_ms, result == 'failed' and payments.pause(payment) or 0)
    end
    return {code.OK, payment.v, payment.status, order.payment_status, told or refund.status}
end
