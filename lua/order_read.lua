-- flags: no-writes
-- The whole record of an order, and what time it is.
--
-- KEYS[1]  order:{p}:ID
-- ARGV     p, id
-- answers  OK now state payment_status v user total currency created expires t payments updated doc owes: owes is 1 while the order has a duty
--          NOT_FOUND

local takes = arguments.of('order_read', 'order', 'partition id')

local function order_read(keys, args)
    local wrong = arguments.wrong(takes, keys, args, 0)
    if wrong then return wrong end

    local order = call('HMGET', keys[1], 'state', 'payment_status', 'v', 'user', 'total', 'currency', 'created', 'expires', 't', 'payments',
        'updated', 'doc')
    if not order[1] then
        return {code.NOT_FOUND}
    end
    order[10], order[11] = order[10] or '', order[11] or order[7] -- not there before there is a payment, and before it moves
    order[13] = call('ZSCORE', key.order_duties(args[1]), args[2]) and 1 or 0
    local now = clock.read()
    return {code.OK, now, unpack(order, 1, 13)}
end
