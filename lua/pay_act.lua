-- The intent to capture or to void what is authorized.
--
-- KEYS[1]  payment:{p}:ID
-- ARGV     p, id; hash (names idem:{p}:HASH) and fp, both empty: the void of an order that ended, begun by its duty; op: capture or void; amount: the
--          whole, or empty; request; due_ms: how long until the gateway may be asked what became of it
-- answers  OK amount currency v op doc
--          REPLAY v: this key's operation has its outcome, version v
--          IN_FLIGHT v: it was begun as version v and has none yet
--          NOT_FOUND, KEY_REUSED
--          ILLEGAL status order_state: not authorized, or a capture for an order that is no longer reserved
--          AMOUNT amount
--          With a key the last two are its outcome from then on: REFUSED again request ILLEGAL status order_state, REFUSED again request AMOUNT
--          amount
-- state    authorized → processing
-- writes   KEYS[1], idem:{p}:HASH, payments:{p}:in:…, txn:{p}:pay

local takes = arguments.of('pay_act', 'payment', 'partition id hash? fp? capture|void count? bytes ms')

-- The answer to a key that is known already, or nil.
local function known_by(record, hash, fp)
    if hash == '' then
        return nil
    end
    local decision, known = idem.read(record, fp, 'v')
    return payments.known(decision, record, {code.IN_FLIGHT, known[3]}, {code.REPLAY, known[3]})
end

local function refused(payment, order, action, amount)
    if not order then
        return {code.NOT_FOUND}
    elseif payment.status ~= 'authorized' or (action == 'capture' and not states.order.pay[order.state]) then
        return {code.ILLEGAL, payment.status, order.state}
    elseif amount ~= '' and tonumber(amount) ~= payment.amount then
        return {code.AMOUNT, payment.amount}
    end
    return nil
end

local function pay_act(keys, args)
    local no, now = events.enter(takes, keys, args)
    if no then return no end
    local p, hash, fp, action, request = args[1], args[3], args[4], args[5], args[7]
    local record = key.idem(p, hash)

    local payment = payments.read(p, args[2])
    local order = payment and orders.read(p, payment.order_id)
    local answer = known_by(record, hash, fp)
    if answer then
        return answer
    end
    answer = refused(payment, order, action, args[6])
    if answer then
        return payments.refuse(record, hash, fp, request, answer)
    end

    local v = int.text(payment.v + 1)
    payment.action, payment.op, payment.ikey = action, action .. ':' .. v, hash
    if hash ~= '' then
        idem.write(record, fp, 'open', 'id', payment.id, 'v', v)
    end
    payments.move(payment, {status = 'processing', cause = action, request = request}, now)
    payments.follow(payment, order, {cause = action, request = request}, now, tonumber(args[8]), 0)
    return {code.OK, payment.amount, payment.currency, payment.v, payment.op, payment.doc}
end
