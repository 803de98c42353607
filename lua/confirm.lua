-- The order is paid: its units are no longer held for a time, they are its own.
--
-- KEYS[1]  stock:{p}:ID
-- ARGV     p, id, T; age: ms since the order was placed, -1: not known; order_id for the ledger, may be empty
-- answers  OK phase: what T is now. A hold that is not held any more stays as it is
--          ABSENT: no hold of this name
-- state    held → committed; held and taken long after its order → released (holds.is_stray)
-- writes   KEYS[1], moves:{p}:ID, asks:{p}

local takes = arguments.of('confirm', 'stock', 'partition id txn age id?')

local function confirm(keys, args)
    local no, now = guard.enter(takes, keys, args)
    if no then return no end

    local hold, counters = holds.read(args[1], args[2], args[3])
    if not hold then
        return {code.ABSENT}
    elseif hold.phase == 'held' then
        holds.move(hold, counters, holds.is_stray(hold, args[4], now) and 'released' or 'committed', args[5], now)
    end
    return {code.OK, hold.phase}
end
