-- The feed: one entry per version of an order.

function events.add(p, id, payment, v, from, to, payment_status, cause, request)
    call('XADD', key.events(p), '*', 'order', id, 'payment', payment, 'v', v, 'from', from, 'to', to,
        'payment_status', payment_status, 'cause', cause, 'request', request)
end
