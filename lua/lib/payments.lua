-- A payment's record. It is made by payments.create and moved by payments.move, and nowhere else: record, version, eV and indexes change together.
-- What follows for the order and for the payment's duty, payments.follow brings about in the same call.
--
-- An operation at the gateway, op = action:version, is begun by pay or pay_act and decided by pay_result. Refunds are decided one by one, each in a
-- field of its own: refund1, refund2, … .

local match, gsub, sub = ('').match, ('').gsub, ('').sub

local FIELDS = {
    'status', 'v', 'order_id', 'amount', 'currency', 'captured', 'refunded', 'refunding', 'op', 'capture', 'created', 'updated', 'gateway_ref',
    'failure', 'ikey', 'refunds', 'doc',
}
local NUMBERS = {v = true, amount = true, captured = true, refunded = true, refunding = true, refunds = true}

local FAILURE_MAX = 64
local PAUSE_MIN_MS = 5000
local PAUSE_MAX_MS = 3600000

-- What the gateway may say of each action, and the status it leads to. From voided it goes on to expired when the order expired (payments.next).
payments.results = {
    charge = {succeeded = 'succeeded', failed = 'failed', unknown = 'unknown'},
    authorize = {authorized = 'authorized', failed = 'failed', voided = 'voided', unknown = 'unknown'},
    capture = {succeeded = 'succeeded', failed = 'authorized', authorized = 'authorized', voided = 'voided', unknown = 'unknown'},
    void = {voided = 'voided', succeeded = 'voided', failed = 'authorized', authorized = 'authorized', unknown = 'unknown'},
}

-- What an order's payment_status is while such an action is under way.
local under_way = {charge = 'pending', authorize = 'pending', capture = 'authorized', void = 'authorized'}
local no_money = {failed = true, voided = true, expired = true}

-- Did the order end without being delivered, so that no money may be kept for it?
function payments.order_let_go(order_state)
    return states.duty[order_state] == 'release'
end

-- The record from its fields as Redis gives them, in the order of payments.read.
local function record_of(p, id, values)
    local payment = {key = key.payment(p, id), p = p, id = id}
    for n = 1, #FIELDS do
        local name = FIELDS[n]
        payment[name] = NUMBERS[name] and tonumber(values[n]) or values[n]
    end
    payment.action = match(payment.op, '^%l+')
    return payment
end

-- Returns nil when there is no such payment. v, amount, captured, refunded, refunding and refunds are numbers; created_us is text (the place in
-- indexes).
function payments.read(p, id)
    local values = call('HMGET', key.payment(p, id), unpack(FIELDS))
    if not values[1] then
        return nil
    end
    local payment = record_of(p, id, values)
    payment.created_us = call('ZSCORE', key.payments(p), id) or payment.created .. '000'
    return payment
end

-- What eV says of a version.
local function history(payment, at, cause, failure, request)
    return payment.status .. '|' .. int.text(payment.captured) .. '|' .. int.text(payment.refunded) .. '|' .. at .. '|' .. cause .. '|' ..
        failure .. '|' .. request
end

-- Makes the record of a new payment. ${new}: p id order_id user (the order's) amount currency action capture ikey doc, all text. Returns its op.
function payments.create(new, now, now_us, request)
    local p, id, status = new.p, new.id, 'processing'
    local at, at_us, op = int.text(now), int.text(now_us), new.action .. ':1'
    local first = history({status = status, captured = 0, refunded = 0}, at, new.action, '', request)
    call('HSET', key.payment(p, id), 'status', status, 'v', '1', 'order_id', new.order_id, 'amount', new.amount, 'currency', new.currency,
        'captured', '0', 'refunded', '0', 'refunding', '0', 'op', op, 'capture', new.capture, 'created', at, 'updated', at, 'gateway_ref', '',
        'failure', '', 'ikey', new.ikey, 'refunds', '0', 'doc', new.doc, 'e1', first)
    call('ZADD', key.payments(p), at_us, id)
    call('ZADD', key.payments_of_user(p, new.user), at_us, id)
    call('ZADD', key.payments_in(p, status), at_us, id)
    return op
end

-- The status that the gateway's result leads to, or nil when it cannot be said of this payment's operation. 'unknown' again is no move.
function payments.next(payment, result, order_state)
    local to = payments.results[payment.action][result]
    if to == 'voided' and order_state == 'expired' then
        to = 'expired'
    end
    local from = payment.status
    return (from == to or (to and states.payment[from][to])) and to or nil
end

-- Raises the payment's version by one and writes the record as ${payment} has it. ${change}: cause, request, and as needed status and failure (the
-- gateway's code; anything but word characters in it would break eV). Further fields of the record follow as name, text, … . Cannot fail.
function payments.move(payment, change, now, ...)
    local from = payment.status
    payment.status = change.status or from
    payment.failure = sub(gsub(change.failure or '', '[^%w_.:-]', '_'), 1, FAILURE_MAX)
    payment.v = payment.v + 1

    local v, at = int.text(payment.v), int.text(now)
    call('HSET', payment.key, 'status', payment.status, 'v', v, 'captured', int.text(payment.captured), 'refunded', int.text(payment.refunded),
        'refunding', int.text(payment.refunding), 'op', payment.op, 'updated', at, 'gateway_ref', payment.gateway_ref, 'failure', payment.failure,
        'ikey', payment.ikey, 'refunds', int.text(payment.refunds),
        'e' .. v, history(payment, at, change.cause, payment.failure, change.request), ...)
    if payment.status ~= from then
        index.shift(key.payments_in(payment.p, from), key.payments_in(payment.p, payment.status), payment.id, payment.created_us)
    end
end

-- The payment_status of an order in this state whose latest payment this is.
function payments.order_status(payment, order_state)
    local status, let_go = payment.status, payments.order_let_go(order_state)
    if status == 'processing' or status == 'unknown' then
        return under_way[payment.action]
    elseif status == 'authorized' then
        return 'authorized'
    elseif no_money[status] then
        return 'none'
    elseif payment.captured == 0 then
        return 'paid' -- an order that costs nothing: nothing was taken, so nothing is owed when it ends
    elseif payment.refunded == payment.captured then
        return 'refunded'
    elseif let_go then
        return 'refund_due'
    end
    return status == 'succeeded' and 'paid' or status
end

-- The parts of a refund's text; its amount is a number. Returns nil when it is damaged.
function payments.refund_parse(text)
    local status, amount, created, op, ikey, updated, reason = match(text, '^(%l+)|(%d+)|(%d+)|([^|]*)|([^|]*)|(%d+)|(.*)$')
    if not status then
        return nil
    end
    return {status = status, amount = tonumber(amount), created = created, op = op, ikey = ikey, updated = updated, reason = reason}
end

-- Refund n (text), or nil when there is none.
function payments.refund(payment, n)
    local text = call('HGET', payment.key, 'refund' .. n)
    local refund = text and payments.refund_parse(text)
    if not refund then
        return nil
    end
    refund.n = n
    return refund
end

function payments.refund_text(refund)
    return refund.status .. '|' .. int.text(refund.amount) .. '|' .. refund.created .. '|' .. refund.op .. '|' .. refund.ikey .. '|' ..
        refund.updated .. '|' .. refund.reason
end

function payments.refund_open(refund)
    return refund.status == 'pending' or refund.status == 'unknown'
end

-- The oldest refund that is not decided, as text, or nil.
local function open_refund(payment)
    if payment.refunding == 0 then
        return nil
    end
    for n = 1, payment.refunds do
        local refund = payments.refund(payment, int.text(n))
        if refund and payments.refund_open(refund) then
            return refund.n
        end
    end
    return nil
end

-- What is left to do for a payment whose order is in this state: none, reconcile (ask the gateway what became of op), void, refund (what was
-- captured), or reconcile_refund with the refund's number as text. The one rule; workers learn it by payment_read.
function payments.duty(payment, order_state)
    local status, let_go = payment.status, payments.order_let_go(order_state)
    if status == 'processing' or status == 'unknown' then
        return 'reconcile'
    elseif status == 'authorized' then
        return let_go and 'void' or 'none'
    elseif no_money[status] then
        return 'none'
    end
    local refund = open_refund(payment)
    if refund then
        return 'reconcile_refund', refund
    end
    return let_go and payment.refunded < payment.captured and 'refund' or 'none'
end

-- How long to wait before something that the gateway declined is tried again: doubled with every version, so that a refund which can never succeed is
-- tried once an hour, and its record grows that slowly. What was closed was not declined: it never reached the gateway, and we ourselves closed its
-- key by asking. Nothing speaks against another attempt, and the buyer waits for his money.
function payments.pause(payment)
    if payment.failure == 'closed' then
        return PAUSE_MIN_MS
    end
    return math.min(PAUSE_MAX_MS, PAUSE_MIN_MS * 2 ^ math.min(payment.v, 10))
end

-- Sets the time of the payment's duty. Questions to the gateway wait ${ask_ms}, since the worker that began the operation is probably waiting for its
-- answer; a void or a refund waits ${act_ms}.
function payments.set_duty(payment, order_state, now, ask_ms, act_ms)
    local duty = payments.duty(payment, order_state)
    if duty == 'none' then
        call('ZREM', key.payment_duties(payment.p), payment.id)
    elseif duty == 'void' or duty == 'refund' then
        index.payment_duty(payment.p, payment.id, now + act_ms)
    else
        index.payment_duty(payment.p, payment.id, now + ask_ms)
    end
end

-- Brings the order, the list of refunds that are due and the payment's duty in line with a payment that has moved. ${change}: cause and request, and
-- as needed the order's new state and expires. It is one version of the order, or none when neither its state nor its payment_status changes.
function payments.follow(payment, order, change, now, ask_ms, act_ms)
    local state, was = change.state or order.state, order.payment_status
    change.payment_status, change.payment = payments.order_status(payment, state), payment.id
    if state ~= order.state or change.payment_status ~= was then
        orders.move(order, change, now)
    end
    if order.payment_status == 'refund_due' then
        index.refund_due(payment.p, payment.id, payment.created_us)
    elseif was == 'refund_due' then
        call('ZREM', key.refund_due(payment.p), payment.id)
    end
    payments.set_duty(payment, order.state, now, ask_ms, act_ms)
end

-- The answer when an Idempotency-Key's request was begun (${in_flight}), decided (${replay}) or refused (as ${record} says) already, else nil.
function payments.known(decision, record, in_flight, replay)
    if not decision then
        return nil
    elseif decision == 'refused' then
        return idem.refusal(record)
    elseif decision == 'open' then
        return in_flight
    elseif decision == 'done' then
        return replay
    end
    return {code.KEY_REUSED}
end

-- Refuses what a key asked for, if there is one: that is its outcome from now on. A payment that is not there has none.
function payments.refuse(record, hash, fp, request, answer)
    if hash == '' or answer[1] == code.NOT_FOUND then
        return answer
    end
    return idem.refuse(record, fp, request, answer)
end

-- What the request with this key's hash was told, or is to be told: field ${name} of its record once that is done, else nil. The payment may have
-- gone on since (it was unknown then and is known now, it was refunded), but every repeat is told the same. Call it before the moves: it reads.
function payments.told(payment, hash, name)
    if hash == '' then
        return nil
    end
    local values = call('HMGET', key.idem(payment.p, hash), 's', name)
    return values[1] == 'done' and values[2] or nil
end

-- The request that began an operation has its outcome: its record, open until now, keeps what its replay gives (name, text, …). Later outcomes do not
-- change that. Call it before the moves: it reads.
function payments.decide(payment, hash, ...)
    if hash == '' then
        return
    end
    local record = key.idem(payment.p, hash)
    local values = call('HMGET', record, 's', 'id', 'fp')
    if values[1] == 'open' and values[2] == payment.id then
        idem.write(record, values[3], 'done', ...)
    end
end
