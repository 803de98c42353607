-- One transaction's units of one product: phase|qty|order partition|when|since, under its name T in the product's holds.

local match = ('').match

holds.MARK_KEPT_MS = 600000    -- a mark outlives every late call (30 s) by far
holds.LATER_THAN_ORDER_MS = 300000

-- The parts of a hold's text; qty, when and since are numbers.
function holds.parse(text)
    local phase, quantity, order_p, when, since = match(text, '^(%l+)|(%d+)|(%d+)|(%d+)|(%d+)$')
    return phase, tonumber(quantity), order_p, tonumber(when), tonumber(since)
end

-- Writes a hold or a mark of which there was none. Phase, quantity and order partition are text.
function holds.create(p, id, txn, phase, quantity, order_p, when, since)
    call('HSET', key.holds(p, id), txn, phase .. '|' .. quantity .. '|' .. order_p .. '|' .. int.text(when) .. '|' .. int.text(since))
end

-- Reads one hold, or nil when there is none of this name.
function holds.read(p, id, txn)
    local text = call('HGET', key.holds(p, id), txn)
    if not text then
        return nil
    end
    local hold = {p = p, id = id, txn = txn}
    hold.phase, hold.quantity, hold.order_p, hold.when, hold.since = holds.parse(text)
    return hold
end

-- Writes a hold that was read, as it is now.
function holds.write(hold)
    holds.create(hold.p, hold.id, hold.txn, hold.phase, int.text(hold.quantity), hold.order_p, hold.when, hold.since)
end

-- Was this hold taken so long after its order that it cannot be the order's? ${age}: text of ms since the order was placed, -1: not known.
-- Then it was taken by a late repeat after the real one had ended and its mark was pruned. Shards' clocks may differ by the margin.
function holds.is_stray(hold, age, now)
    return age ~= '-1' and now - hold.since + holds.LATER_THAN_ORDER_MS < tonumber(age)
end

-- The phase in which a live hold's units are back.
function holds.undone(hold)
    return hold.phase == 'held' and 'released' or 'restocked'
end

-- Moves a live hold to ${to} with its units, and makes sure that a look will find it when there is something to do. ${to} must be allowed by
-- states.hold.
function holds.move(hold, to, order_id, now)
    local by = states.hold[hold.phase][to]
    local counters = stock.read(hold.p, hold.id)
    hold.phase = to
    if states.hold_live[to] then
        hold.when = 0
    else
        hold.when = now
        stock.ask(counters, now + holds.MARK_KEPT_MS)
    end
    stock.change(counters, by, hold.quantity, hold.txn, order_id)
    holds.write(hold)
end
