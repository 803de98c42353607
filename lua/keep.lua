-- The order of this hold is alive and reserved: do not ask again before it expires.
--
-- KEYS[1]  stock:{p}:ID
-- ARGV     p, id, T; left_ms: until the order expires
-- answers  OK phase: what T is
--          ABSENT: no hold of this name
-- state    held stays held, with a new ask-after; others stay as they are
-- writes   KEYS[1]; asks:{p} when nothing was to be asked sooner

local takes = arguments.of('keep', 'stock', 'partition id txn ms')

local function keep(keys, args)
    local no, now = guard.enter(takes, keys, args)
    if no then return no end

    local hold, counters = holds.read(args[1], args[2], args[3])
    if not hold then
        return {code.ABSENT}
    elseif hold.phase == 'held' then
        hold.when = now + tonumber(args[4])
        stock.ask(counters, hold.when)
        call('HSET', keys[1], hold.txn, holds.text_of(hold))
        stock.write_ask(counters)
    end
    return {code.OK, hold.phase}
end
