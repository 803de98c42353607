-- The order of this hold is alive and reserved: do not ask again before it expires.
--
-- KEYS[1]  stock:{p}:ID
-- ARGV     p, id, T; left_ms: until the order expires
-- answers  OK phase: what T is
--          ABSENT: no hold of this name
-- state    held stays held, with a new ask-after; others stay as they are
-- writes   holds:{p}:ID; KEYS[1] and asks:{p} when nothing was to be asked sooner

local takes = arguments.of('keep', 'stock', 'partition id txn ms')

local function keep(keys, args)
    local no, now = guard.enter(takes, keys, args)
    if no then return no end
    local p, id = args[1], args[2]

    local hold = holds.read(p, id, args[3])
    if not hold then
        return {code.ABSENT}
    elseif hold.phase == 'held' then
        local counters = stock.read(p, id)
        hold.when = now + tonumber(args[4])
        stock.ask(counters, hold.when)
        holds.write(hold)
        stock.write_ask(counters)
    end
    return {code.OK, hold.phase}
end
