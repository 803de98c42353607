-- flags: no-writes
-- Do these orders, their payments, indexes and duties agree? Names the orders that should have live holds or a duty, for whoever compares them with
-- the stock.
--
-- KEYS[1]  orders:{p}
-- ARGV     p; after_score and after_id: the order to go on behind, both empty at the start; most: how many orders; upto: ms; ids: may be left out,
--          else these orders and no walk, commas between them (none: only what is checked at the start)
-- answers  OK next_score next_id orders payments [violation text…] [id t state age duty doc…] transitions sum: next is empty at the end; how many
--          orders and payments were looked at; duty: 1 if txn:{p} has the order; how many versions of these orders were made before upto, and a sum
--          over them (feed_sum below), for whoever compares them with the feed
-- checks   of an order: the pair of state and payment_status exists; e1 … eV are there, each step is allowed, the last is the record; payment_status
--          follows from the latest payment; it is in its indexes; while it is reserved, expire is due. Of a payment: it is its order's; 0 ≤ refunded
--          ≤ captured ≤ amount = total, as its status says; e1 … eV; its refunds sum up; it is in its indexes; only the latest is open; refund_due
--          has it exactly when it is owed; it has a duty when something is left to do. At the start also: no order and no payment is in two indexes
--          of one kind (by counting)

local takes = arguments.of('audit_orders', 'orders', 'partition count? id? positive count')

local byte, match, gmatch = ('').byte, ('').match, ('').gmatch

local FEED_PRIME = 67108859 -- below 2^26, so that a square is exact
local SLACK_MS = clock.DIFFER_MS + 10000 -- what is due may be put off this much by a sweep that is at it, whose clock was ahead
local AT_ONCE = 1000        -- names asked for in one call: unpack gives only so many

-- This runs for every order that there is, while others wait. So it reads only what it judges, asks for the entries of many in one call where many
-- stand in one index, and puts no text together before something is wrong.

local function set(words, head)
    local all = {}
    for word in gmatch(words, '%S+') do
        all[word] = head and head .. '|' .. word .. '|' or true
    end
    return all
end

-- state → payment_status → the begin of an eV that says so: the pairs that there can be. Paid and ended is an order that costs nothing.
local PAIRS = {
    reserved = set('none pending authorized', 'reserved'),
    paid = set('paid partially_refunded refunded', 'paid'),
    fulfilled = set('paid partially_refunded refunded', 'fulfilled'),
    cancelled = set('none authorized paid refund_due refunded', 'cancelled'),
    expired = set('none pending authorized paid refund_due refunded', 'expired'),
}
local PAYMENT_STATUSES = set('none pending authorized paid partially_refunded refunded refund_due')
local STATUSES = set('processing unknown authorized succeeded failed voided expired partially_refunded refunded')
local CAPTURED = set('succeeded partially_refunded refunded')

-- Notes what is wrong: fixed words and ids.
local function complain(page, kind, id, text)
    page.violations[#page.violations + 1] = kind .. ' ' .. id .. ': ' .. text
end

-- The number that a field is, or nil (and noted).
local function number_of(page, kind, id, name, text)
    local number = int.read(text or '')
    if not number then
        complain(page, kind, id, name .. ' is not an integer from 0')
    end
    return number
end

-- The names e1, e2, … are made once.
local names, names_count = {}, 0
local function names_upto(n)
    while names_count < n do
        names_count = names_count + 1
        names[names_count] = 'e' .. int.text(names_count)
    end
    return names
end

-- Walks e1 … eV and looks for one behind them. ${texts}: e1, e2, … as far as they came with the record; the others are read here, some at once.
-- ${step}(page, record, n, text, before) judges a version; what it returns the next one gets as ${before}; nil: the text is none of a version.
local function check_history(page, kind, record, texts, step)
    local v, first, before = record.v, 1, ''
    for n = 1, v + 1 do
        local text = texts[n - first + 1]
        if text == nil then
            local upto = math.min(v + 1, n + 31)
            texts, first = call('HMGET', record.key, unpack(names_upto(upto), n, upto)), n
            text = texts[1]
        end
        if n <= v then
            before = step(page, record, n, text or '', before)
            if not before then
                return complain(page, kind, record.id, 'e' .. int.text(n) .. ' is missing')
            end
        elseif text or v == 0 then
            complain(page, kind, record.id, 'there is an e beyond v')
        end
    end
end

-- A number for 'paid|paid|', the same as the worker's (shared/shop/audit_feed.c).
local words = {}
local function word_sum(text)
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

-- Is this a step of an order, from one version's first two words to the next one's?
local function judge_order_step(before, after)
    local from, to, payment_status = match(before, '^[%l_]*'), match(after, '^([%l_]+)|([%l_]+)|')
    local allowed = from == to
    for _, moves in pairs(states.order) do
        allowed = allowed or moves[from] == to
    end
    return allowed and PAIRS[to] and PAIRS[to][payment_status] and true or false
end

-- There are few different steps, so each is judged once: before → after → allowed?
local known_steps = {}
local function order_step_allowed(before, after)
    local steps = known_steps[before]
    if not steps then
        steps = {}
        known_steps[before] = steps
    end
    local allowed = steps[after]
    if allowed == nil then
        allowed = judge_order_step(before, after)
        steps[after] = allowed
    end
    return allowed
end

-- Judges a version of an order, and adds it to what is compared with the feed if it was made in time. One version is a number there: sums of these
-- are equal when, and hardly but when, both sides have the same versions. All is exact below 2^53.
local function order_step(page, order, n, text, before)
    local after, expires, at = match(text, '^([%l_]+|[%l_]+|)(%d+)|(%d+)|')
    if not after then
        return nil
    elseif not order_step_allowed(before, after) then
        complain(page, 'order', order.id, 'e' .. int.text(n) .. ' is not an allowed step')
    end
    if order.settled or tonumber(at) < page.upto then
        local x = (order.id_sum + n * 131 + (words[after] or word_sum(after))) % FEED_PRIME
        page.transitions, page.sum = page.transitions + 1, page.sum + x * x % FEED_PRIME
    end
    if n == order.v and not (after == order.words and expires == order.expires and at == order.updated) then
        complain(page, 'order', order.id, 'the last e is not the record')
    end
    return after
end

local function payment_step(page, payment, n, text, before)
    local status, captured, refunded, at = match(text, '^([%l_]+)|(%d+)|(%d+)|(%d+)|')
    if not status then
        return nil
    end
    local moves = states.payment[before]
    if not (before == status or (moves and moves[status])) then
        complain(page, 'payment', payment.id, 'e' .. int.text(n) .. ' is not an allowed step')
    end
    if n == payment.v and not (status == payment.status and captured == payment.captured_text and refunded == payment.refunded_text and
        at == payment.updated) then
        complain(page, 'payment', payment.id, 'the last e is not the record')
    end
    return status
end

-- Has the index all that were listed, at their scores?
local function check_index(page, index)
    local scores = call(unpack(index, 1, index.count))
    for n = 1, #scores do
        if scores[n] ~= index.scores[n + 2] then
            complain(page, index.kind, index[n + 2], index.wrong)
        end
    end
    index.count = 2
end

-- An index, and what is to be said of those that it should have and has not.
local function index_new(page, name, kind, wrong)
    local index = {'ZMSCORE', name, count = 2, scores = {}, kind = kind, wrong = wrong}
    page.indexes[#page.indexes + 1] = index
    return index
end

-- The index must have this id at this score. That is asked for many at once, at the page's end.
local function list_later(page, index, id, score)
    if index.count > AT_ONCE then
        check_index(page, index)
    end
    local at = index.count + 1
    index[at], index.scores[at], index.count = id, score, at
end

local function check_refunds(page, payment)
    local refunded, refunding, readable = 0, 0, true
    for n = 1, payment.refunds do
        local refund = payments.refund_parse(call('HGET', payment.key, 'refund' .. int.text(n)) or '')
        if not refund then
            readable = false
        elseif refund.status == 'succeeded' then
            refunded = refunded + refund.amount
        elseif payments.refund_open(refund) then
            refunding = refunding + refund.amount
        end
    end
    if not readable then
        complain(page, 'payment', payment.id, 'a refund is not readable')
    end
    if refunded ~= payment.refunded then
        complain(page, 'payment', payment.id, 'refunded is not the sum of its refunds')
    end
    if refunding ~= payment.refunding then
        complain(page, 'payment', payment.id, 'refunding is not the sum of its refunds')
    end
end

local function check_money(page, payment, order)
    local id, status, amount, captured, refunded = payment.id, payment.status, payment.amount, payment.captured, payment.refunded
    if payment.order_id ~= order.id or payment.currency ~= order.currency then
        complain(page, 'payment', id, 'is not its order\'s')
    end
    if amount ~= order.total then
        complain(page, 'payment', id, 'amount is not the order\'s total')
    end
    if captured ~= (CAPTURED[status] and amount or 0) then
        complain(page, 'payment', id, 'captured is not what its status says')
    end
    if refunded + payment.refunding > captured then
        complain(page, 'payment', id, 'more is refunded than was captured')
    end
    if CAPTURED[status] and status ~= ((refunded == 0 and 'succeeded') or (refunded == captured and 'refunded') or 'partially_refunded') then
        complain(page, 'payment', id, 'refunded is not what its status says')
    end
end

local function index_of_status(page, status)
    page.of_status[status] = index_new(page, key.payments_in(page.p, status), 'payment', 'is not in the index of its status')
    return page.of_status[status]
end

local function index_of_pair(page, words, state, payment_status)
    page.of_pair[words] = index_new(page, key.orders_in(page.p, state, payment_status), 'order', 'is not in the index of its state')
    return page.of_pair[words]
end

-- Those payments of the page that were not looked up yet: are they where they should be?
local function check_payment_lists(page)
    local p, ids, expected = page.p, page.payment_ids, page.payment_expected
    if page.payment_count == 0 then
        return
    end
    local scores = call('ZMSCORE', key.payments(p), unpack(ids, 1, page.payment_count))
    local owed = call('ZMSCORE', key.refund_due(p), unpack(ids, 1, page.payment_count))
    local duties = call('ZMSCORE', key.payment_duties(p), unpack(ids, 1, page.payment_count))
    for n = 1, page.payment_count do
        local id, payment = ids[n], expected[n]
        if scores[n] then
            list_later(page, page.of_status[payment.status] or index_of_status(page, payment.status), id, scores[n])
        else
            complain(page, 'payment', id, 'is not in payments')
        end
        if call('ZSCORE', key.payments_of_user(p, payment.user), id) ~= scores[n] then
            complain(page, 'payment', id, 'is not in the index of its user')
        end
        if payment.owed and not owed[n] then
            complain(page, 'payment', id, 'is owed back and not in refund_due')
        elseif owed[n] and not payment.owed then
            complain(page, 'payment', id, 'is in refund_due and not owed back')
        end
        if payment.duty and not duties[n] then
            complain(page, 'payment', id, 'has no duty')
        end
    end
    page.payment_count = 0
end

local function list_payment_later(page, payment, order, is_latest)
    if page.payment_count == AT_ONCE then
        check_payment_lists(page)
    end
    payment.user = order.user or ''
    payment.owed = is_latest and order.payment_status == 'refund_due'
    payment.duty = payments.duty(payment, order.state) ~= 'none'
    page.payment_count = page.payment_count + 1
    page.payment_ids[page.payment_count], page.payment_expected[page.payment_count] = payment.id, payment
end

-- The payment and its first versions, or nil (and noted).
local function read_payment(page, id)
    local p, name = page.p, key.payment(page.p, id)
    local f = call('HMGET', name, 'v', 'amount', 'captured', 'refunded', 'refunding', 'refunds', 'created', 'updated', 'status', 'op', 'order_id',
        'currency', 'e1', 'e2', 'e3')
    if not f[1] and not f[9] and call('EXISTS', name) == 0 then
        return complain(page, 'payment', id, 'has no record')
    end
    local payment = {
        key = name, p = p, id = id, captured_text = f[3], refunded_text = f[4], updated = f[8], status = f[9], op = f[10], order_id = f[11],
        currency = f[12],
    }
    local function number(n, field)
        payment[field] = number_of(page, 'payment', id, field, f[n])
        return payment[field]
    end
    local readable = number(1, 'v') and number(2, 'amount') and number(3, 'captured') and number(4, 'refunded') and number(5, 'refunding') and
        number(6, 'refunds') and number_of(page, 'payment', id, 'created', f[7]) and number_of(page, 'payment', id, 'updated', f[8])
    return readable and payment, {f[13], f[14], f[15]}
end

-- Returns the payment, or nil when it cannot be read.
local function check_payment(page, order, id, is_latest)
    page.payments = page.payments + 1
    local payment, texts = read_payment(page, id)
    if not payment then
        return nil
    elseif not STATUSES[payment.status] then
        return complain(page, 'payment', id, 'status is none that there is')
    end
    payment.action = match(payment.op or '', '^%l+') or ''
    if not payments.results[payment.action] then
        return complain(page, 'payment', id, 'op is none that there is')
    end
    check_history(page, 'payment', payment, texts, payment_step)
    check_money(page, payment, order)
    check_refunds(page, payment)
    list_payment_later(page, payment, order, is_latest)
    if not is_latest and states.payment_open[payment.status] then
        complain(page, 'payment', id, 'is open and not the latest')
    end
    return payment
end

-- ${ids}: with commas between them.
local function check_payments(page, order, ids)
    local latest_id, follows, latest, readable = nil, 'none', nil, true
    if ids ~= '' then
        latest_id, order.currency = match(ids, '%d+$'), call('HGET', order.key, 'currency')
    end
    for id in gmatch(ids, '%d+') do -- the empty text has none
        latest = check_payment(page, order, id, id == latest_id)
        readable = readable and latest
    end
    if latest then
        follows = payments.order_status(latest, order.state)
    end
    if readable and order.payment_status ~= follows then
        complain(page, 'order', order.id, 'payment_status does not follow from its latest payment')
    end
end

-- For whoever compares with the stock.
local function add_live(page, id, txn, state, age, due, doc)
    local live, at = page.live, page.live_count
    live[at + 1], live[at + 2], live[at + 3], live[at + 4], live[at + 5], live[at + 6] = id, txn or '', state, age, due and 1 or 0, doc or ''
    page.live_count = at + 6
end

-- What else must know the order. ${due}: the time of its duty, or false.
local function check_order_lists(page, order, score, due)
    local words = order.words
    list_later(page, page.of_pair[words] or index_of_pair(page, words, order.state, order.payment_status), order.id, score)
    if call('ZSCORE', key.orders_of_user(page.p, order.user or ''), order.id) ~= score then
        complain(page, 'order', order.id, 'is not in the index of its user')
    end
    if order.state == 'reserved' and not (due and tonumber(due) <= math.max(order.expires_ms, page.now + SLACK_MS)) then
        complain(page, 'order', order.id, 'expire is not due when it expires')
    end
end

-- ${due}: as above. ${order}: a table that is used again for each, since making one costs more than a check.
local function check_order(page, order, id, score, due)
    local name = key.order(page.p, id)
    local state, payment_status, v, total, created, expires, user, paid_by, updated, txn, doc, e1, e2 = unpack(call('HMGET', name, 'state',
        'payment_status', 'v', 'total', 'created', 'expires', 'user', 'payments', 'updated', 't', 'doc', 'e1', 'e2'))
    if not v and not state and call('EXISTS', name) == 0 then
        return complain(page, 'order', id, 'has no record')
    end
    local created_ms = number_of(page, 'order', id, 'created', created)
    order.v, order.total, order.expires_ms = number_of(page, 'order', id, 'v', v), number_of(page, 'order', id, 'total', total),
        number_of(page, 'order', id, 'expires', expires)
    if not (order.v and order.total and created_ms and order.expires_ms) then
        return
    end
    local words = PAIRS[state] and PAIRS[state][payment_status]
    if not words then
        return complain(page, 'order', id, 'state and payment_status are no pair that there is')
    end
    order.key, order.id, order.state, order.payment_status, order.words, order.user = name, id, state, payment_status, words, user
    order.expires, order.updated = expires, updated or created
    order.id_sum, order.settled = id % FEED_PRIME * 8191, tonumber(order.updated) < page.upto
    order.texts[1], order.texts[2] = e1, e2
    check_history(page, 'order', order, order.texts, order_step)
    check_payments(page, order, paid_by or '')
    check_order_lists(page, order, score, due)
    if due or state == 'reserved' or state == 'paid' then
        add_live(page, id, txn, state, page.now - created_ms, due, doc)
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
    if in_states ~= call('ZCARD', key.orders(p)) then
        complain(page, 'partition', p, 'the indexes of states have more or fewer orders than there are')
    end
    if in_statuses ~= call('ZCARD', key.payments(p)) then
        complain(page, 'partition', p, 'the indexes of statuses have more or fewer payments than there are')
    end
end

-- Those orders of a list that are in the index, as next_orders gives them.
local function named_orders(p, list)
    local asked, ids, scores, count = {'ZMSCORE', key.orders(p)}, {'ZMSCORE', key.order_duties(p)}, {}, 2
    for id in gmatch(list, '%d+') do
        asked[#asked + 1] = id
    end
    local found = #asked > 2 and call(unpack(asked)) or {}
    for n = 1, #found do
        if found[n] then
            count = count + 1
            ids[count], scores[count] = asked[n + 2], found[n]
        end
    end
    return ids, scores, false
end

-- The next orders behind (score, id), at most ${most}: their ids, their scores, and are there more? Places 1 and 2 of the ids stay free for the
-- command that asks for their duties. Orders of the same score stand by their ids, and those up to ${id} were looked at before.
local function next_orders(p, score, id, most)
    local found, at, offset = {}, 1, 0
    repeat
        found, at = call('ZRANGEBYSCORE', key.orders(p), score == '' and '-inf' or score, '+inf', 'WITHSCORES', 'LIMIT', int.text(offset),
            int.text(most + 2)), 1
        while found[at] and found[at + 1] == score and found[at] <= id do
            at = at + 2
        end
        offset = offset + most + 2
    until found[at] or #found == 0
    local last = math.min(#found, at + most * 2 - 1)
    local ids, scores, count = {'ZMSCORE', key.order_duties(p)}, {}, 2
    for n = at, last, 2 do
        count = count + 1
        ids[count], scores[count] = found[n], found[n + 1]
    end
    return ids, scores, last < #found or #found == most * 2 + 4
end

local function audit_orders(keys, args)
    local wrong = arguments.wrong(takes, keys, args, args[6] and 1 or 0)
    if wrong then return wrong end
    local p, most, named = args[1], tonumber(args[4]), args[6]

    local page = {
        p = p, now = clock.read(), upto = tonumber(args[5]), violations = {}, live = {}, live_count = 0, indexes = {}, of_pair = {},
        of_status = {}, payments = 0, payment_ids = {}, payment_expected = {}, payment_count = 0, transitions = 0, sum = 0,
    }
    if named == '' or (args[2] == '' and not named) then
        check_counts(page, p)
    end
    local ids, scores, more
    if named then
        ids, scores, more = named_orders(p, named)
    else
        ids, scores, more = next_orders(p, args[2], args[3], most)
    end
    local due = #ids > 2 and call(unpack(ids)) or {}
    local order = {texts = {}}
    for n = 3, #ids do
        check_order(page, order, ids[n], scores[n], due[n - 2])
    end
    check_payment_lists(page)
    for n = 1, #page.indexes do
        check_index(page, page.indexes[n])
    end
    local last = #ids
    return {code.OK, more and scores[last] or '', more and ids[last] or '', last - 2, page.payments, page.violations, page.live,
        page.transitions, int.text(page.sum)}
end
