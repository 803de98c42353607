-- The order is fulfilled: its units have left.
--
-- KEYS[1]  stock:{p}:ID
-- ARGV     p, id, T; age: ms since the order was placed, -1: not known; order_id for the ledger, may be empty
-- answers  OK phase: what T is now. A hold that ended stays as it is
--          ABSENT: no hold of this name
-- state    held, committed → consumed; taken long after its order: held → released, committed → restocked (holds.is_stray)
-- writes   KEYS[1], moves:{p}:ID, asks:{p}

local takes = arguments.of('consume', 'stock', 'partition id txn age id?')

local function consume(keys, args)
    local no, now = guard.enter(takes, keys, args)
    if no then return no end

    local hold, counters = holds.read(args[1], args[2], args[3])
    if not hold then
        return {code.ABSENT}
    elseif states.hold_live[hold.phase] then
        holds.move(hold, counters, holds.is_stray(hold, args[4], now) and holds.undone(hold) or 'consumed', args[5], now)
    end
    return {code.OK, hold.phase}
end
