-- The paid order's units leave.
--
-- KEYS[1]  order:{p}:ID
-- ARGV     p, id; hash (names idem:{p}:HASH), fp; request; doc: the order's new document
-- answers  OK v state payment_status age
--          REPLAY v: done before by this key
--          NOT_FOUND, KEY_REUSED
--          ALREADY v: fulfilled before, by another key
--          ILLEGAL state payment_status: it has ended
--          REFUSED again request ILLEGAL state payment_status: it may become legal, but not for this key
-- state    paid → fulfilled
-- writes   KEYS[1], idem:{p}:HASH, orders:{p}:in:…, events:{p}, txn:{p}

local takes = arguments.of('fulfil', 'order', 'partition id hash fp bytes text')

local function fulfil(keys, args)
    local no, now = events.enter(takes, keys, args)
    if no then return no end
    local p, id, fp = args[1], args[2], args[4]
    local record = key.idem(p, args[3])

    local order = orders.read(p, id)
    local answer, kept = orders.refused(order, 'fulfil', record, fp)
    if answer then
        return orders.keep(kept, record, fp, args[5], answer)
    end

    orders.move(order, {state = 'fulfilled', cause = 'fulfil', request = args[5]}, now, 'doc', args[6])
    index.order_duty(p, id, now)
    idem.write(record, fp, 'done', 'v', int.text(order.v))
    return {code.OK, order.v, order.state, order.payment_status, orders.age(order, now)}
end
