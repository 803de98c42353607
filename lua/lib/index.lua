-- Sorted sets beside the records: lists by creation time, and duties by the time when they are due.

-- A record leaves one list for another and keeps its place in time.
function index.shift(from, to, id, created_us)
    call('ZREM', from, id)
    call('ZADD', to, created_us, id)
end

-- An order's duty; its state says which (states.duty). A later call moves the time.
function index.order_duty(p, id, due)
    call('ZADD', key.order_duties(p), int.text(due), id)
end

-- A payment's duty (reconcile, void or refund, as its record says).
function index.payment_duty(p, id, due)
    call('ZADD', key.payment_duties(p), int.text(due), id)
end

-- Money taken for an order that ended: to be listed until it is given back.
function index.refund_due(p, id, created_us)
    call('ZADD', key.refund_due(p), created_us, id)
end
