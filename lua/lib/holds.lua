-- One transaction's units of one product: phase|qty|order partition|when|since, under its name T in the product's stock, beside the counters. A name
-- has dots in it, so it is none of theirs.

local byte, match = ('').byte, ('').match

holds.MARK_KEPT_MS = 600000    -- a mark outlives every late call (30 s) by far
holds.UNASKED_MS = 9000        -- nobody asks sooner about a hold, unless its order is to be held for less
holds.BRIEF_MS = 1000          -- nor sooner than this about any

-- Is this field of a stock a transaction's name (and no counter's)?
function holds.is_name(field)
    return byte(field, 33) == 46
end

-- The parts of a hold's text; qty, when and since are numbers.
function holds.parse(text)
    local phase, quantity, order_p, when, since = match(text, '^(%l+)|(%d+)|(%d+)|(%d+)|(%d+)$')
    return phase, tonumber(quantity), order_p, tonumber(when), tonumber(since)
end

-- The same for a field of a stock; nil for a counter.
function holds.of_field(name, text)
    if holds.is_name(name) then
        return holds.parse(text)
    end
end

-- The holds among the fields of a stock, both lists of name, text, … .
function holds.only(fields)
    local kept = {}
    for n = 1, #fields, 2 do
        if holds.is_name(fields[n]) then
            local at = #kept
            kept[at + 1], kept[at + 2] = fields[n], fields[n + 1]
        end
    end
    return kept
end

-- The text of a hold or a mark. Phase, quantity and order partition are text.
function holds.text(phase, quantity, order_p, when, since)
    return phase .. '|' .. quantity .. '|' .. order_p .. '|' .. int.text(when) .. '|' .. int.text(since)
end

-- The text of a hold that was read, as it is now.
function holds.text_of(hold)
    return holds.text(hold.phase, int.text(hold.quantity), hold.order_p, hold.when, hold.since)
end

local function hold_of(txn, text)
    if not text then
        return nil
    end
    local phase, quantity, order_p, when, since = holds.parse(text)
    return {txn = txn, phase = phase, quantity = quantity, order_p = order_p, when = when, since = since}
end

-- Reads one hold and the counters beside it: nil when there is none of this name, nil when there is no such product.
function holds.read(p, id, txn)
    local counters, values = stock.read_holds(p, id, txn)
    return hold_of(txn, values[stock.HOLDS_BEHIND + 1]), counters
end

-- Reads the holds of all these names: a list with false where there is none, and the counters.
function holds.read_all(p, id, txns)
    local counters, values = stock.read_holds(p, id, unpack(txns))
    local found = {}
    for n = 1, #txns do
        found[n] = hold_of(txns[n], values[stock.HOLDS_BEHIND + n]) or false
    end
    return found, counters
end

-- Was this hold taken so long after its order that it cannot be the order's? ${age}: text of ms since the order was placed, -1: not known.
-- Then it was taken by a late repeat after the real one had ended and its mark was pruned. Shards' clocks may move by the margin.
function holds.is_stray(hold, age, now)
    return age ~= '-1' and now - hold.since + clock.DIFFER_MS < tonumber(age)
end

-- The phase in which a live hold's units are back.
function holds.undone(hold)
    return hold.phase == 'held' and 'released' or 'restocked'
end

-- Moves a live hold to ${to} with its units, and makes sure that a look will find it when there is something to do. ${to} must be allowed by
-- states.hold.
function holds.move(hold, counters, to, order_id, now)
    local by = states.hold[hold.phase][to]
    hold.phase = to
    if states.hold_live[to] then
        hold.when = 0
    else
        hold.when = now
        stock.ask(counters, now + holds.MARK_KEPT_MS)
    end
    stock.change(counters, by, hold.quantity, hold.txn, order_id, '', holds.text_of(hold))
end
