-- The orders of these holds are alive and reserved: do not ask again before they expire.
--
-- KEYS[1]  stock:{p}:ID
-- ARGV     p, id; [T left_ms]…: until the order expires
-- answers  OK phase…: what each T is; empty: no hold of this name
-- state    held stays held, with a new ask-after if it is due; others stay as they are
-- writes   KEYS[1]
--
-- A hold that is not due was kept by somebody else, to about the same time. To set it back by the little that the two differ would put it before
-- what a look of several steps has seen of it, and ask would be no lower bound any more. While a hold is due, ask is below anything that it can get
-- here.

local takes = arguments.of('keep', 'stock', 'partition id', 'txn ms')

local function keep(keys, args)
    local no, now = guard.enter(takes, keys, args)
    if no then return no end

    local txns = {}
    for n = 3, #args - 2, 2 do
        txns[#txns + 1] = args[n]
    end
    local found = holds.read_all(args[1], args[2], txns)
    local answer, kept = {code.OK}, {}
    for n = 1, #txns do
        local hold = found[n]
        answer[n + 1] = hold and hold.phase or ''
        if hold and hold.phase == 'held' and hold.when <= now then
            hold.when = now + tonumber(args[n * 2 + 2])
            kept[#kept + 1], kept[#kept + 2] = hold.txn, holds.text_of(hold)
        end
    end
    if #kept > 0 then
        call('HSET', keys[1], unpack(kept))
    end
    return answer
end
