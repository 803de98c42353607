-- Nobody paid in time: the order ends and its units go back. A payment that is still at the gateway changes nothing; its late success is refunded.
--
-- KEYS[1]  order:{p}:ID
-- ARGV     p, id
-- answers  OK v state payment_status age
--          NOT_FOUND
--          ALREADY v
--          ILLEGAL state payment_status
--          EXPIRED ms: not yet; that much is left
-- state    reserved → expired
-- writes   KEYS[1], orders:{p}:in:…, events:{p}, txn:{p}; txn:{p}:pay when an authorization is to be voided

local takes = arguments.of('expire', 'order', 'partition id')

local function expire(keys, args)
    local no, now = events.enter(takes, keys, args)
    if no then return no end
    local p, id = args[1], args[2]

    local order = orders.read(p, id)
    local answer = orders.refused(order, 'expire')
    if answer then
        return answer
    elseif now < order.expires then
        return {code.EXPIRED, order.expires - now}
    end
    local payment = orders.latest_payment(order)

    orders.move(order, {state = 'expired', cause = 'expire', request = ''}, now)
    index.order_duty(p, id, now)
    if payment and payment.status == 'authorized' then
        index.payment_duty(p, payment.id, now)
    end
    return {code.OK, order.v, order.state, order.payment_status, orders.age(order, now)}
end
