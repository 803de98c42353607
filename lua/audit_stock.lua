-- flags: no-writes
-- Do the counters of these products agree with their holds? Names the live holds, for whoever compares them with the orders.
--
-- KEYS[1]  products:{p}
-- ARGV     p; after: the product to go on behind, empty at the start; most: how many products; ids: may be left out, else these products and no walk,
--          commas between them
-- answers  OK next products holds [violation text…] [T product hold…] now [product…]: next is empty at the end; how many products and holds were
--          looked at; each live hold as it is stored; the products with too many holds for one call, which audit_holds is for
-- checks   the product's record, stock and place in the index are there; counters are integers ≥ 0 and available ≥ 0, and what the last entry of the
--          ledger says; held and committed are the sums of the holds; ask is not later than what waits for it, and asks:{p} has the product by then
--          exactly when ask > 0

local takes = arguments.of('audit_stock', 'products', 'partition id? positive')

local HOLDS_ENOUGH = 5000 -- a page ends behind the product that reaches this
local FIELDS_MAX = 2000   -- of one stock, in one call; above it its holds are left to audit_holds
local SLACK_MS = clock.DIFFER_MS + 10000 -- what is due may be asked about this much later: a sweep or a look is at it, whose clock was ahead

local match = ('').match

local COUNTERS = {'on_hand', 'held', 'committed', 'v'}
local FIELDS = {'on_hand', 'held', 'committed', 'v', 'ask'}

-- What is found wrong: fixed words and ids.
local function report(page, id, text)
    page.violations[#page.violations + 1] = 'product ' .. id .. ': ' .. text
end

-- A product's stock: its counters as text by name; its holds as T, text, …, nil when there are too many for one call.
local function read_stock(p, id)
    local record, texts, kept = key.stock(p, id), {}, {}
    if call('HLEN', record) > FIELDS_MAX then
        local values = call('HMGET', record, unpack(FIELDS))
        for n = 1, #FIELDS do
            texts[FIELDS[n]] = values[n]
        end
        return texts, nil
    end
    local all = call('HGETALL', record)
    for n = 1, #all, 2 do
        if holds.is_name(all[n]) then
            local at = #kept
            kept[at + 1], kept[at + 2] = all[n], all[n + 1]
        else
            texts[all[n]] = all[n + 1]
        end
    end
    return texts, kept
end

-- What the holds sum up to, and the earliest time at which one must be looked at (nil: never). Adds the live ones to the page.
local function sum_holds(page, id, kept)
    local sums, earliest = {held = 0, committed = 0}, nil
    for n = 1, #kept, 2 do
        local phase, quantity, when = match(kept[n + 1], '^(%l+)|(%d+)|%d+|(%d+)|%d+$')
        local due
        if not phase then
            report(page, id, 'a hold is not readable')
        elseif states.hold_live[phase] then
            sums[phase] = sums[phase] + quantity
            due = phase == 'held' and tonumber(when) or nil
            local live, at = page.live, #page.live
            live[at + 1], live[at + 2], live[at + 3] = kept[n], id, kept[n + 1]
        else
            due = when + holds.MARK_KEPT_MS
        end
        earliest = due and math.min(due, earliest or due) or earliest
    end
    page.holds = page.holds + #kept / 2
    return sums, earliest
end

-- The counters as numbers, or nil when one is not.
local function counters_of(page, id, texts)
    local counters = {}
    for n = 1, #COUNTERS do
        counters[COUNTERS[n]] = int.read(texts[COUNTERS[n]] or '')
        if not counters[COUNTERS[n]] then
            report(page, id, COUNTERS[n] .. ' is not an integer from 0')
            return nil
        end
    end
    return counters
end

-- ${ask}: its text.
local function check_ask(page, p, id, ask, earliest, now)
    ask = tonumber(ask or '0') or 0
    local listed = tonumber(call('ZSCORE', key.asks(p), id) or '')
    if earliest and (ask == 0 or ask > math.max(earliest, now + SLACK_MS)) then
        report(page, id, 'ask is later than a hold or mark that waits')
    end
    if ask > 0 and not (listed and listed <= math.max(ask, now + SLACK_MS)) then
        report(page, id, 'asks does not have it when ask says')
    elseif ask == 0 and listed then
        report(page, id, 'asks has it without ask')
    end
end

-- Whatever changes a counter writes what all of them are then (stock.change).
local function check_ledger(page, p, id, texts)
    local last = call('XREVRANGE', key.moves(p, id), '+', '-', 'COUNT', '1')[1]
    local counters = last and match(last[2][2], '^%l+|%-?%d+|[^|]*|%d*|(%d+|%d+|%d+|%d+)|')
    if counters ~= texts.on_hand .. '|' .. texts.held .. '|' .. texts.committed .. '|' .. texts.v then
        report(page, id, 'the last entry of its ledger is not its counters')
    end
end

local function check(page, p, id, now)
    if call('EXISTS', key.product(p, id)) == 0 then
        report(page, id, 'is in the index and has no record')
    end
    local texts, kept = read_stock(p, id)
    local counters = counters_of(page, id, texts)
    local sums, earliest = {}, nil
    if kept then
        sums, earliest = sum_holds(page, id, kept)
        check_ask(page, p, id, texts.ask, earliest, now)
    else
        page.many[#page.many + 1] = id
    end
    if not counters then
        return
    end
    check_ledger(page, p, id, texts)
    if counters.on_hand < counters.held + counters.committed then
        report(page, id, 'available is below 0')
    end
    for phase, sum in pairs(sums) do
        if counters[phase] ~= sum then
            report(page, id, phase .. ' is ' .. int.text(counters[phase]) .. ' and the holds sum to ' .. int.text(sum))
        end
    end
end

-- Those products of a list that are in the index, as ZRANGEBYSCORE gives them.
local function named_products(index, list)
    local asked, found = {'ZMSCORE', index}, {}
    for id in list:gmatch('%d+') do
        asked[#asked + 1] = id
    end
    local scores = #asked > 2 and call(unpack(asked)) or {}
    for n = 1, #scores do
        if scores[n] then
            found[#found + 1] = asked[n + 2]
            found[#found + 1] = scores[n]
        end
    end
    return found
end

local function audit_stock(keys, args)
    local wrong = arguments.wrong(takes, keys, args, args[4] and 1 or 0)
    if wrong then return wrong end
    local p, most, now = args[1], tonumber(args[3]), clock.read()

    local page = {violations = {}, live = {}, many = {}, holds = 0}
    local from = args[2] == '' and '-inf' or '(' .. args[2]
    local found = args[4] and named_products(keys[1], args[4]) or
        call('ZRANGEBYSCORE', keys[1], from, '+inf', 'WITHSCORES', 'LIMIT', '0', int.text(most))
    local products, after = 0, ''
    while products * 2 < #found and page.holds < HOLDS_ENOUGH do
        local id, score = found[products * 2 + 1], found[products * 2 + 2]
        if id ~= score then
            report(page, id, 'is at a wrong place in the index')
        end
        check(page, p, id, now)
        products, after = products + 1, score
    end
    local ended = args[4] or (products * 2 == #found and products < most)
    return {code.OK, ended and '' or after, products, page.holds, page.violations, page.live, now, page.many}
end
