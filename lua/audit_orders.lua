-- flags: no-writes
-- Do these orders, their payments, indexes and duties agree? Names the orders that should have live holds or a duty, for whoever compares them with
-- the stock.
--
-- KEYS[1]  orders:{p}
-- ARGV     p; after_score and after_id: the order to go on behind, both empty at the start; most: how many orders; upto: ms
-- answers  OK next_score next_id orders payments [violation text…] [id t state age duty doc…] transitions sum: next is empty at the end; how many
--          orders and payments were looked at; duty: 1 if txn:{p} has the order; how many versions of these orders were made before upto, and a sum
--          over them (feed_sum below), for whoever compares them with the feed
-- checks   of an order: the pair of state and payment_status exists; e1 … eV are there, each step is allowed, the last is the record; payment_status
--          follows from the latest payment; it is in its indexes; while it is reserved, expire is due. Of a payment: it is its order's; 0 ≤ refunded
--          ≤ captured ≤ amount = total, as its status says; e1 … eV; its refunds sum up; it is in its indexes; only the latest is open; refund_due
--          has it exactly when it is owed; it has a duty when something is left to do. At the start also: no order and no payment is in two indexes
--          of one kind (by counting)

local takes = arguments.of('audit_orders', 'orders', 'partition count? id? positive count')

local byte, find, match = ('').byte, ('').find, ('').match

local FEED_PRIME = 67108859 -- below 2^26, so that a square is exact

local SLACK_MS = 10000 -- what is due already may be put off this much by a sweep that is at it

local function set(words)
    local all = {}
    for word in words:gmatch('%S+') do
        all[word] = true
    end
    return all
end

-- state → payment_status: the pairs that there can be. Paid and ended is an order that costs nothing.
local PAIRS = {
    reserved = set('none pending authorized'),
    paid = set('paid partially_refunded refunded'),
    fulfilled = set('paid partially_refunded refunded'),
    cancelled = set('none authorized paid refund_due refunded'),
    expired = set('none pending authorized paid refund_due refunded'),
}
local PAYMENT_STATUSES = set('none pending authorized paid partially_refunded refunded refund_due')
local STATUSES = set('processing unknown authorized succeeded failed voided expired partially_refunded refunded')
local CAPTURED = set('succeeded partially_refunded refunded')
local ORDER_NUMBERS = {'v', 'total', 'created', 'expires'}
local PAYMENT_NUMBERS = {'v', 'amount', 'captured', 'refunded', 'refunding', 'refunds', 'created', 'updated'}

-- Notes what is wrong: fixed words and ids.
local function complain(page, kind, id, text)
    page.violations[#page.violations + 1] = kind .. ' ' .. id .. ': ' .. text
    return false
end

-- The same unless ${right}. A text that must be put together first is for complain: all is right nearly always.
local function want(page, kind, id, right, text)
    if not right then
        page.violations[#page.violations + 1] = kind .. ' ' .. id .. ': ' .. text
    end
    return right
end

-- The record, its numbers as numbers, or nil (and noted).
local function read(page, kind, p, id, numbers)
    local all = call('HGETALL', key[kind](p, id))
    if not want(page, kind, id, #all > 0, 'has no record') then
        return nil
    end
    local record = {key = key[kind](p, id), p = p, id = id}
    for n = 1, #all, 2 do
        record[all[n]] = all[n + 1]
    end
    for n = 1, #numbers do
        local name = numbers[n]
        local number = int.read(record[name] or '')
        if not number then
            complain(page, kind, id, name .. ' is not an integer from 0')
            return nil
        end
        record[name] = number
    end
    return record
end

-- The names e1, e2, … are made once.
local names = {}
local function e(n)
    local name = names[n]
    if not name then
        name = 'e' .. int.text(n)
        names[n] = name
    end
    return name
end

-- Walks e1 … eV. ${allowed}(before, after) judges a step from one version's first two words, 'paid|paid|', to the next one's. Returns the last text.
local function check_history(page, kind, record, allowed)
    local before, text = '', nil
    for n = 1, record.v do
        text = record[e(n)]
        local after = match(text or '', '^[%l_]+|[%l%d_]+|')
        if not after then
            complain(page, kind, record.id, e(n) .. ' is missing')
            return ''
        elseif not allowed(before, after, record, n, text) then
            complain(page, kind, record.id, e(n) .. ' is not an allowed step')
        end
        before = after
    end
    want(page, kind, record.id, record.v > 0 and not record[e(record.v + 1)], 'there is an e beyond v')
    return text or ''
end

local function begins(text, start)
    return find(text, start, 1, true) == 1
end

-- There are few different steps, so each is judged once.
local function remember(judge)
    local known = {}
    return function(before, after)
        local steps = known[before]
        if not steps then
            steps = {}
            known[before] = steps
        end
        if steps[after] == nil then
            steps[after] = judge(match(before, '^[%l_]*'), match(after, '^([%l_]+)|([%l%d_]+)|')) and true or false
        end
        return steps[after]
    end
end

local order_step_allowed = remember(function(from, to, payment_status)
    local allowed = from == to
    for _, moves in pairs(states.order) do
        allowed = allowed or moves[from] == to
    end
    return allowed and PAIRS[to] and PAIRS[to][payment_status]
end)

-- Here the second word is an amount.
local function payment_step(before, after)
    local from, to = match(before, '^[%l_]*'), match(after, '^[%l_]+')
    local moves = states.payment[from]
    return from == to or (moves and moves[to])
end

-- A number for 'paid|paid|', the same as the worker's (shared/shop/audit_feed.c).
local words = {}
local function word(text)
    local sum = words[text]
    if not sum then
        sum = 0
        for n = 1, #text do
            sum = (sum * 31 + byte(text, n)) % FEED_PRIME
        end
        words[text] = sum
    end
    return sum
end

-- One version of an order as a number: sums of these are equal when, and hardly but when, both sides have the same versions. All is exact below 2^53.
local function feed_sum(id_rest, v, after)
    local x = (id_rest * 8191 + v * 131 + word(after)) % FEED_PRIME
    return x * x % FEED_PRIME
end

-- Does the index have the id at this score?
local function listed(name, id, score)
    return call('ZSCORE', name, id) == score
end

-- Is it in the index of its state? That is asked for all orders of an index in one call, at the page's end.
local function list_later(page, order, score)
    local of_state = page.indexes[order.state] or {}
    local index = of_state[order.payment_status]
    if not index then
        index = {count = 2, scores = {}, 'ZMSCORE', key.orders_in(order.p, order.state, order.payment_status)}
        of_state[order.payment_status], page.indexes[order.state] = index, of_state
    end
    local at = index.count + 1
    index[at], index.scores[at], index.count = order.id, score, at
end

local function check_indexes(page)
    for _, of_state in pairs(page.indexes) do
        for _, index in pairs(of_state) do
            local scores = call(unpack(index))
            for n = 1, #scores do
                want(page, 'order', index[n + 2], scores[n] == index.scores[n + 2], 'is not in the index of its state')
            end
        end
    end
end

local function check_refunds(page, payment)
    local refunded, refunding, readable = 0, 0, true
    for n = 1, payment.refunds do
        local refund = payments.refund_parse(payment['refund' .. int.text(n)] or '')
        if not refund then
            readable = false
        elseif refund.status == 'succeeded' then
            refunded = refunded + refund.amount
        elseif payments.refund_open(refund) then
            refunding = refunding + refund.amount
        end
    end
    want(page, 'payment', payment.id, readable, 'a refund is not readable')
    want(page, 'payment', payment.id, refunded == payment.refunded, 'refunded is not the sum of its refunds')
    want(page, 'payment', payment.id, refunding == payment.refunding, 'refunding is not the sum of its refunds')
end

local function check_money(page, payment, order)
    local id, captured, refunded = payment.id, payment.captured, payment.refunded
    want(page, 'payment', id, payment.order_id == order.id and payment.currency == order.currency, 'is not its order\'s')
    want(page, 'payment', id, payment.amount == order.total, 'amount is not the order\'s total')
    want(page, 'payment', id, captured == (CAPTURED[payment.status] and payment.amount or 0), 'captured is not what its status says')
    want(page, 'payment', id, refunded + payment.refunding <= captured, 'more is refunded than was captured')
    local status = (refunded == 0 and 'succeeded') or (refunded == captured and 'refunded') or 'partially_refunded'
    want(page, 'payment', id, not CAPTURED[payment.status] or payment.status == status, 'refunded is not what its status says')
end

local function check_payment_lists(page, payment, order, is_latest)
    local p, id = payment.p, payment.id
    local score = call('ZSCORE', key.payments(p), id)
    want(page, 'payment', id, score, 'is not in payments')
    want(page, 'payment', id, not score or listed(key.payments_in(p, payment.status), id, score), 'is not in the index of its status')
    local owed = call('ZSCORE', key.refund_due(p), id)
    want(page, 'payment', id, owed or order.payment_status ~= 'refund_due' or not is_latest, 'is owed back and not in refund_due')
    want(page, 'payment', id, not owed or (is_latest and order.payment_status == 'refund_due'), 'is in refund_due and not owed back')
    if payments.duty(payment, order.state) ~= 'none' then
        want(page, 'payment', id, call('ZSCORE', key.payment_duties(p), id), 'has no duty')
    end
end

-- Returns the payment, or nil when it cannot be read.
local function check_payment(page, order, id, is_latest)
    page.payments = page.payments + 1
    local payment = read(page, 'payment', order.p, id, PAYMENT_NUMBERS)
    if not payment or not want(page, 'payment', id, STATUSES[payment.status], 'status is none that there is') then
        return nil
    end
    payment.action = (payment.op or ''):match('^%l+') or ''
    if not want(page, 'payment', id, payments.results[payment.action], 'op is none that there is') then
        return nil
    end
    local last = check_history(page, 'payment', payment, payment_step)
    local now = payment.status .. '|' .. int.text(payment.captured) .. '|' .. int.text(payment.refunded) .. '|' .. int.text(payment.updated) .. '|'
    want(page, 'payment', id, begins(last, now), 'the last e is not the record')
    check_money(page, payment, order)
    check_refunds(page, payment)
    check_payment_lists(page, payment, order, is_latest)
    want(page, 'payment', id, is_latest or not states.payment_open[payment.status], 'is open and not the latest')
    return payment
end

local function check_payments(page, order)
    if order.payments == '' then
        want(page, 'order', order.id, order.payment_status == 'none', 'payment_status does not follow from its latest payment')
        return
    end
    local latest_id = (order.payments or ''):match('%d+$')
    local latest, readable = nil, true
    for id in (order.payments or ''):gmatch('%d+') do
        latest = check_payment(page, order, id, id == latest_id)
        readable = readable and latest
    end
    local follows = 'none'
    if latest then
        follows = payments.order_status(latest, order.state)
    end
    want(page, 'order', order.id, not readable or order.payment_status == follows, 'payment_status does not follow from its latest payment')
end

-- ${due}: the time of its duty, or false.
local function check_order_lists(page, order, score, due, now)
    local p, id = order.p, order.id
    list_later(page, order, score)
    want(page, 'order', id, listed(key.orders_of_user(p, order.user or ''), id, score), 'is not in the index of its user')
    if order.state == 'reserved' then
        want(page, 'order', id, due and tonumber(due) <= math.max(order.expires, now + SLACK_MS), 'expire is not due when it expires')
    end
end

-- Judges a step of an order, and counts the version for the feed if it was made in time.
local function order_step(before, after, order, v, text)
    local page = order.page
    if order.settled or tonumber(match(text, '^[^|]*|[^|]*|[^|]*|(%d+)|') or 0) < page.upto then
        page.transitions = page.transitions + 1
        page.sum = page.sum + feed_sum(order.id_rest, v, after)
    end
    return order_step_allowed(before, after)
end

local function check_order(page, p, id, score, due, now)
    local order = read(page, 'order', p, id, ORDER_NUMBERS)
    if not order then
        return
    end
    local state, payment_status = order.state or '', order.payment_status or ''
    order.page, order.id_rest, order.settled = page, id % FEED_PRIME, tonumber(order.updated or page.upto) < page.upto
    if not want(page, 'order', id, PAIRS[state] and PAIRS[state][payment_status], 'state and payment_status are no pair that there is') then
        return
    end
    local last = check_history(page, 'order', order, order_step)
    local record = state .. '|' .. payment_status .. '|' .. int.text(order.expires) .. '|' .. (order.updated or '') .. '|'
    want(page, 'order', id, begins(last, record), 'the last e is not the record')
    check_payments(page, order)

    check_order_lists(page, order, score, due, now)
    if due or state == 'reserved' or state == 'paid' then
        local live, at = page.live, #page.live
        live[at + 1], live[at + 2], live[at + 3] = id, order.t or '', state
        live[at + 4], live[at + 5], live[at + 6] = now - order.created, due and 1 or 0, order.doc or ''
    end
end

-- Who is in each index of the right kind once, and all together are as many as there are, is in none twice.
local function check_counts(page, p)
    local in_states, in_statuses = 0, 0
    for state in pairs(PAIRS) do
        for payment_status in pairs(PAYMENT_STATUSES) do
            in_states = in_states + call('ZCARD', key.orders_in(p, state, payment_status))
        end
    end
    for status in pairs(STATUSES) do
        in_statuses = in_statuses + call('ZCARD', key.payments_in(p, status))
    end
    want(page, 'partition', p, in_states == call('ZCARD', key.orders(p)), 'the indexes of states have more or fewer orders than there are')
    want(page, 'partition', p, in_statuses == call('ZCARD', key.payments(p)), 'the indexes of statuses have more or fewer payments than there are')
end

-- The next orders behind (score, id) and their scores, from the third place on: before them stands what asks for their duties. And: are there more?
local function next_orders(p, score, id, most)
    local source = merge.index_source(key.orders(p), true, score, id, most + 1)
    local ids, scores, more = {'ZMSCORE', key.order_duties(p)}, {}, merge.step_index(source)
    while more and #ids < most + 2 do
        local at = #ids + 1
        ids[at], scores[at] = source.member, source.score
        more = merge.step_index(source)
    end
    return ids, scores, more
end

local function audit_orders(keys, args)
    local wrong = arguments.wrong(takes, keys, args, 0)
    if wrong then return wrong end
    local p, most, now = args[1], tonumber(args[4]), clock.read()

    local page = {violations = {}, live = {}, payments = 0, indexes = {}, transitions = 0, sum = 0, upto = tonumber(args[5])}
    if args[2] == '' then
        check_counts(page, p)
    end
    local ids, scores, more = next_orders(p, args[2], args[3], most)
    local due = #ids > 2 and call(unpack(ids)) or {}
    for n = 3, #ids do
        check_order(page, p, ids[n], scores[n], due[n - 2], now)
    end
    check_indexes(page)
    local last = #ids
    return {code.OK, more and scores[last] or '', more and ids[last] or '', last - 2, page.payments, page.violations, page.live,
        page.transitions, int.text(page.sum)}
end
