-- flags: no-writes
-- One page of the holds of a product that has too many for audit_stock: what they sum up to, and the counters as they are now. Only when the stock's
-- version was the same on all pages can the sums be compared with them.
--
-- KEYS[1]  stock:{p}:ID
-- ARGV     p, id; cursor of HSCAN, 0 at the start; most: about how many
-- answers  OK cursor v held committed sum_held sum_committed holds unreadable uncovered [T product hold…] now: cursor 0 at the end; v and the
--          counters
--          -1 when they are no integers; of this page: sums, how many, how many are not readable, how many wait for a look that ask does not cover

local takes = arguments.of('audit_holds', 'stock', 'partition id count positive')

local SLACK_MS = clock.DIFFER_MS + 10000 -- as in audit_stock

local match = ('').match

local function audit_holds(keys, args)
    local wrong = arguments.wrong(takes, keys, args, 0)
    if wrong then return wrong end
    local id, now = args[2], clock.read()

    local counters = call('HMGET', keys[1], 'v', 'held', 'committed', 'ask')
    local found = call('HSCAN', keys[1], args[3], 'COUNT', args[4])
    local kept, live, sums = holds.only(found[2]), {}, {held = 0, committed = 0}
    local unreadable, uncovered, ask = 0, 0, tonumber(counters[4] or '0') or 0
    for n = 1, #kept, 2 do
        local phase, quantity, when = match(kept[n + 1], '^(%l+)|(%d+)|%d+|(%d+)|%d+$')
        local due
        if not phase then
            unreadable = unreadable + 1
        elseif states.hold_live[phase] then
            sums[phase] = sums[phase] + quantity
            due = phase == 'held' and tonumber(when) or nil
            local at = #live
            live[at + 1], live[at + 2], live[at + 3] = kept[n], id, kept[n + 1]
        else
            due = when + holds.MARK_KEPT_MS
        end
        if due and (ask == 0 or ask > math.max(due, now + SLACK_MS)) then
            uncovered = uncovered + 1
        end
    end
    return {code.OK, found[1], int.read(counters[1] or '') or -1, int.read(counters[2] or '') or -1, int.read(counters[3] or '') or -1,
        int.text(sums.held), int.text(sums.committed), #kept / 2, unreadable, uncovered, live, now}
end
