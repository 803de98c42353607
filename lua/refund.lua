-- The intent to give money back.
--
-- KEYS[1]  payment:{p}:ID
-- ARGV     p, id; hash (names idem:{p}:HASH) and fp, both empty: the refund of an order that ended, begun by its duty; amount, empty: all that is
--          left; reason: text of the client; request; due_ms: how long until the gateway may be asked what became of it
-- answers  OK n amount currency op created: the payment's n-th refund
--          REPLAY n status v: this key's refund has its outcome, the payment's version v
--          IN_FLIGHT n: it has none yet; without a key: another refund is under way
--          NOT_FOUND, KEY_REUSED
--          ILLEGAL status: nothing was captured, all was refunded, too many refunds, or without a key: none is due
--          AMOUNT refundable: what was captured and is neither refunded nor being refunded
--          With a key the last two are its outcome from then on: REFUSED again request ILLEGAL status, REFUSED again request AMOUNT refundable
-- state    the refund: (none) → pending; the payment's status stays
-- writes   KEYS[1], idem:{p}:HASH, txn:{p}:pay

local takes = arguments.of('refund', 'payment', 'partition id hash? fp? count? bytes bytes ms')

local REFUNDS_MAX = 100 -- of clients; one that is due is never refused

-- The answer to a key that is known already, or nil.
local function known_by(record, hash, fp)
    if hash == '' then
        return nil
    end
    local decision, known = idem.read(record, fp, 'n', 'status', 'v')
    return payments.known(decision, record, {code.IN_FLIGHT, known[3]}, {code.REPLAY, known[3], known[4], known[5]})
end

local function refused(payment, order, by_duty, amount, left)
    if not order then
        return {code.NOT_FOUND}
    end
    local duty, n = payments.duty(payment, order.state)
    if by_duty and duty == 'reconcile_refund' then
        return {code.IN_FLIGHT, n}
    elseif by_duty and duty ~= 'refund' then
        return {code.ILLEGAL, payment.status}
    elseif not states.payment[payment.status] or not states.payment[payment.status].refunded then
        return {code.ILLEGAL, payment.status}
    elseif not by_duty and payment.refunds >= REFUNDS_MAX then
        return {code.ILLEGAL, payment.status}
    elseif amount < 1 or amount > left then
        return {code.AMOUNT, left}
    end
    return nil
end

local function refund(keys, args)
    local no, now = guard.enter(takes, keys, args)
    if no then return no end
    local p, hash, fp, request = args[1], args[3], args[4], args[7]
    local record = key.idem(p, hash)

    local payment = payments.read(p, args[2])
    local order = payment and orders.read(p, payment.order_id)
    local left = payment and payment.captured - payment.refunded - payment.refunding
    local amount = args[5] == '' and left or tonumber(args[5])
    local answer = known_by(record, hash, fp)
    if answer then
        return answer
    end
    answer = refused(payment, order, hash == '', amount, left)
    if answer then
        return payments.refuse(record, hash, fp, request, answer)
    end

    local another, at, n = payment.refunding > 0, int.text(now), int.text(payment.refunds + 1)
    local op = 'refund:' .. n
    payment.refunds, payment.refunding = payment.refunds + 1, payment.refunding + amount
    if hash ~= '' then
        idem.write(record, fp, 'open', 'id', payment.id, 'n', n)
    end
    payments.move(payment, {cause = 'refund', request = request}, now, 'refund' .. n,
        payments.refund_text({status = 'pending', amount = amount, created = at, op = op, ikey = hash, updated = at, reason = args[6]}))
    if not another then
        index.payment_duty(p, payment.id, now + args[8])
    end
    return {code.OK, n, amount, payment.currency, op, now}
end
