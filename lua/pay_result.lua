-- What the gateway said of a payment's operation. Payment, order, idempotency record, duties and events follow in this one call.
--
-- KEYS[1]  payment:{p}:ID
-- ARGV     p, id; op: as it was begun, charge:1; result: succeeded, failed, authorized, voided or unknown; gateway_ref: empty: as before; failure:
--          the gateway's code, empty if none; extend_ms: how long an authorized order stays reserved from now, at least; due_ms: when unknown, how
--          long until the gateway is asked again; request; hash: of the key whose client waits for this, or empty
-- answers  OK v status order_id order_state payment_status age: v is the version that the client is to be shown
--          ALREADY v status: this operation is decided, or another one was begun; v likewise
--          ILLEGAL status: no such result of this operation (payments.results)
--          NOT_FOUND
-- state    payment: processing, unknown → as payments.results says; order: reserved → paid when the money was taken
-- writes   KEYS[1], payments:{p}:in:…, txn:{p}:pay, idem:{p}:HASH; order:{p}:ID, orders:{p}:in:…, events:{p}, txn:{p}, payments:{p}:refund_due
--
-- Money that was taken for an order which has ended meanwhile is refund_due, with a duty to refund it now.

local takes = arguments.of('pay_result', 'payment', 'partition id text succeeded|failed|authorized|voided|unknown bytes bytes ms ms bytes hash?')

-- The worker that learned of the payment confirms the holds at once; a sweep does it if that one died.
local CONFIRM_AFTER_MS = 3000

-- Brings ${payment} to what the result means. Returns what it means for the order.
local function take_in(payment, order, to, now, extend_ms)
    if to == 'succeeded' then
        payment.captured = payment.amount
        return {state = states.order.pay[order.state]}
    elseif to == 'authorized' and payment.action == 'authorize' and order.state == 'reserved' then
        return {expires = math.max(order.expires, now + extend_ms)}
    end
    return {}
end

local function order_duty(order, change, now)
    if change.state then
        index.order_duty(order.p, order.id, now + CONFIRM_AFTER_MS)
    elseif change.expires then
        index.order_duty(order.p, order.id, order.expires)
    end
end

local function pay_result(keys, args)
    local no, now = events.enter(takes, keys, args)
    if no then return no end
    local result, due_ms = args[4], tonumber(args[8])

    local payment = payments.read(args[1], args[2])
    local order = payment and orders.read(args[1], payment.order_id)
    if not order then
        return {code.NOT_FOUND}
    end
    local told = payments.told(payment, args[10], 'v')
    if payment.op ~= args[3] or not states.payment_at_gateway[payment.status] then
        return {code.ALREADY, told or payment.v, payment.status}
    end
    local to = payments.next(payment, result, order.state)
    if not to then
        return {code.ILLEGAL, payment.status}
    end

    if to == payment.status then
        index.payment_duty(payment.p, payment.id, now + due_ms)
    else
        local change = take_in(payment, order, to, now, tonumber(args[7]))
        change.cause, change.request = payment.action .. '_' .. result, args[9]
        payment.gateway_ref = args[5] ~= '' and args[5] or payment.gateway_ref
        payments.decide(payment, payment.ikey, 'v', int.text(payment.v + 1))
        payments.move(payment, {status = to, cause = change.cause, failure = args[6], request = args[9]}, now)
        payments.follow(payment, order, change, now, due_ms, payment.action == 'void' and payments.pause(payment) or 0)
        order_duty(order, change, now)
    end
    return {code.OK, told or payment.v, payment.status, order.id, order.state, order.payment_status, orders.age(order, now)}
end
