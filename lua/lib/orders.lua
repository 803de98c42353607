-- An order's record. It is made by orders.create and moved by orders.move, and nowhere else: record, version, eV, indexes, duty and event
-- change together.
--
-- ${payments} of the record are the ids of the order's payments with commas between them, the latest last. Only the latest can be open. An order that
-- was never moved has no `updated`, one without payments has no `payments`: most orders are read once more at the most, and each field of a write
-- costs.

-- Reads what a move needs. Returns nil when there is no such order; else v, created and expires are numbers, created_us is text (the place in
-- indexes; made of its time if the list of orders has lost it, since a move without a place would fail behind its first write).
function orders.read(p, id)
    local record = key.order(p, id)
    local values = call('HMGET', record, 'state', 'payment_status', 'v', 'user', 'total', 'currency', 'created', 'expires', 't', 'payments')
    if not values[1] then
        return nil
    end
    return {
        key = record, p = p, id = id,
        state = values[1], payment_status = values[2], v = tonumber(values[3]),
        user = values[4], total = values[5], currency = values[6],
        created = tonumber(values[7]), expires = tonumber(values[8]), t = values[9], payments = values[10] or '',
        created_us = call('ZSCORE', key.orders(p), id) or values[7] .. '000',
    }
end

-- The order's latest payment: id, status, created_us (its place in indexes; the order's if the list of payments has lost it). Nil when there is none.
function orders.latest_payment(order)
    local id = order.payments:match('%d+$')
    if not id then
        return nil
    end
    local created_us = call('ZSCORE', key.payments(order.p), id) or order.created_us
    return {id = id, status = call('HGET', key.payment(order.p, id), 'status'), created_us = created_us}
end

-- What eV says of a version.
local function history(state, payment_status, expires, now, cause, request)
    return state .. '|' .. payment_status .. '|' .. expires .. '|' .. now .. '|' .. cause .. '|' .. request
end

-- Makes the record of a new order with everything that belongs to it. ${new}: p id user total currency t doc (text), hold_ms (text).
-- Returns the time when it expires.
function orders.create(p, id, new, now, now_us, request)
    local to = states.order.place['']
    local expires = now + new.hold_ms
    local at, at_us, until_text = int.text(now), int.text(now_us), int.text(expires)
    call('HSET', key.order(p, id), 'state', to, 'payment_status', 'none', 'v', '1', 'user', new.user, 'total', new.total,
        'currency', new.currency, 'created', at, 'expires', until_text, 't', new.t, 'doc', new.doc,
        'e1', history(to, 'none', until_text, at, 'place', request))
    call('ZADD', key.order_duties(p), until_text, id)
    call('ZADD', key.orders(p), at_us, id)
    call('ZADD', key.orders_in(p, to, 'none'), at_us, id)
    call('ZADD', key.orders_of_user(p, new.user), at_us, id)
    events.add(p, at, id, '', '1', '', to, 'none', 'place', request)
    return expires
end

-- The answer when ${cause} cannot move this order (nil: there is none), or was done before by the key of ${record}; else nil. Without ${record}
-- no key is asked. It writes nothing; the second value says what the key is to keep of the answer (orders.keep): nothing (nil), done or refused.
-- Done already by another key is a success, which this key keeps: its repeats show the version that its first answer showed. What is illegal now and
-- may become legal (to fulfil before it is paid) is kept with the key as well.
function orders.refused(order, cause, record, fp)
    if not order then
        return {code.NOT_FOUND}
    end
    local decision, values
    if record then
        decision, values = idem.read(record, fp, 'v')
    end
    if decision == 'reused' then
        return {code.KEY_REUSED}
    elseif decision == 'refused' then
        return idem.refusal(record)
    elseif decision then
        return {code.REPLAY, values[3]}
    elseif order.state == states.order_end_of[cause] then
        return {code.ALREADY, order.v}, 'done'
    elseif not states.order[cause][order.state] then
        return {code.ILLEGAL, order.state, order.payment_status}, not states.order_ended[order.state] and 'refused' or nil
    end
    return nil
end

-- Writes what the key keeps of an answer that orders.refused gave. Returns what the function answers.
function orders.keep(kept, record, fp, request, answer)
    if kept == 'done' then
        idem.write(record, fp, 'done', 'v', int.text(answer[2]))
    elseif kept == 'refused' then
        return idem.refuse(record, fp, request, answer)
    end
    return answer
end

-- Raises the order's version by one with a change of state, payment_status or both. ${change}: cause, request, and as needed state,
-- payment_status, payment (the id that caused it), expires (a number). Further fields of the record follow as name, text, … .
-- Brings ${order} up to date. A new state gets its duty elsewhere: its time differs. Cannot fail. Returns the new version.
function orders.move(order, change, now, ...)
    local from, from_payment_status = order.state, order.payment_status
    order.state = change.state or from
    order.payment_status = change.payment_status or from_payment_status
    order.expires = change.expires or order.expires
    order.v = order.v + 1

    local v, at, expires = int.text(order.v), int.text(now), int.text(order.expires)
    call('HSET', order.key, 'state', order.state, 'payment_status', order.payment_status, 'v', v, 'expires', expires, 'updated', at,
        'e' .. v, history(order.state, order.payment_status, expires, at, change.cause, change.request), ...)
    if order.state ~= from or order.payment_status ~= from_payment_status then
        index.shift(key.orders_in(order.p, from, from_payment_status), key.orders_in(order.p, order.state, order.payment_status),
            order.id, order.created_us)
    end
    events.add(order.p, at, order.id, change.payment or '', v, from, order.state, order.payment_status, change.cause, change.request)
    return order.v
end

-- How long ago the order was placed, by this shard: what a stock partition needs to tell the order's hold from a later one.
function orders.age(order, now)
    return now - order.created
end

-- What a stock partition needs of the order that it has a hold of: its state, and of a reserved one the ms until it expires, of others its age.
-- The state is `lost` when there is no such order.
function orders.standing(p, id, now)
    local values = call('HMGET', key.order(p, id), 'state', 'expires', 'created')
    local state = values[1]
    if not state then
        return 'lost', 0
    end
    return state, state == 'reserved' and math.max(0, values[2] - now) or now - values[3]
end
