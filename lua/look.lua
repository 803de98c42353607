-- One step through a product's holds: names those to ask about, prunes old marks, and at the end knows when the next look is due.
--
-- KEYS[1]  stock:{p}:ID
-- ARGV     p, id; cursor, started, least: 0 0 0 in the first step, else what the step before gave; most: how many may be named
-- answers  OK cursor started least [T order_p …]; cursor 0: this was the last step
--          NOT_FOUND
-- writes   KEYS[1] (marks older than 10 min go; in the last step ask); in the last step asks:{p}
--
-- ask must stay a lower bound. Holds that were taken while the look went on may have been missed, but they are not asked about before 9 s have
-- passed, or 1 s if they were taken for less (lua/try.lua, which notes when it did that); so a look of several steps sets ask no later than that
-- after it began. It is not always 1 s, since a look of very many holds takes its time, and its end must not be due again already. Whoever is due
-- counts, named or not: until it is settled nobody may say that the product is short.

local takes = arguments.of('look', 'stock', 'partition id count count count positive')

local STEP = '128'
local PRUNED_AT_ONCE = 500 -- arguments of one call go over Lua's stack

local function earlier(least, due)
    return (least == 0 or due < least) and due or least
end

-- Sorts what one step found. Returns the named ones, the marks to prune, and the smallest next time.
local function sift(found, now, least, most)
    local named, pruned = {}, {}
    for i = 1, #found, 2 do
        local phase, _, order_p, when = holds.of_field(found[i], found[i + 1])
        if not phase then
            -- a counter
        elseif phase == 'held' then
            if when <= now and #named < most * 2 then
                named[#named + 1] = found[i]
                named[#named + 1] = order_p
            end
            least = earlier(least, when)
        elseif not states.hold_live[phase] and when + holds.MARK_KEPT_MS <= now then
            pruned[#pruned + 1] = found[i]
        elseif not states.hold_live[phase] then
            least = earlier(least, when + holds.MARK_KEPT_MS)
        end
    end
    return named, pruned, least
end

-- The soonest time at which a hold must be asked about that was taken since ${started}.
local function soonest_unseen(counters, started)
    return started + (stock.brief(counters) >= started and holds.BRIEF_MS or holds.UNASKED_MS)
end

local function look(keys, args)
    local no, now = guard.enter(takes, keys, args)
    if no then return no end
    local p, id, cursor, started, least = args[1], args[2], args[3], tonumber(args[4]), tonumber(args[5])

    local counters = stock.read(p, id)
    if not counters then
        return {code.NOT_FOUND}
    end
    if started == 0 then
        started = now
    end
    local step = call('HSCAN', keys[1], cursor, 'COUNT', STEP)
    local named, pruned
    named, pruned, least = sift(step[2], now, least, tonumber(args[6]))

    for first = 1, #pruned, PRUNED_AT_ONCE do
        call('HDEL', keys[1], unpack(pruned, first, math.min(first + PRUNED_AT_ONCE - 1, #pruned)))
    end
    if step[1] == '0' then
        stock.set_ask(counters, cursor == '0' and least or earlier(least, soonest_unseen(counters, started)), now)
    end
    return {code.OK, step[1], started, least, named}
end
