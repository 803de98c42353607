-- The feed: one entry per version of an order.

-- Is there an event of this partition at ${ms} or later?
local function has_event(p, ms)
    return call('XRANGE', key.events(p), int.text(ms), '+', 'COUNT', '1')[1] ~= nil
end

-- The millisecond of the last event of this shard that is later than ${ms}, ${ms} if none is. Found by halving, for there can be many. What is
-- further ahead than clocks differ was written by one that was wrong, and is not believed.
local function last_event(ms)
    local limit = ms + clock.DIFFER_MS
    for p = 0, guard.partitions() - 1 do
        if has_event(p, ms + 1) and not has_event(p, limit) then
            for n = 18, 0, -1 do -- 2^19 ms are more than clocks differ
                ms = has_event(p, ms + 2 ^ n) and ms + 2 ^ n or ms
            end
        end
    end
    return ms
end

-- guard.enter for functions that add events: they come behind all that are there. So it reads the events of other partitions too.
function events.enter(takes, keys, args)
    local no, now, now_us = guard.enter(takes, keys, args)
    if no then return no end
    return nil, clock.follow(now, now_us, last_event)
end

-- ${at}: the shard's time as text. An entry has the millisecond in which its version was made, by that clock, so that none can come to stand behind a
-- cursor that was told. Only where a clock that was wrong by hours has left entries that are ahead, the stream's own order goes before.
-- One field rather than eight: what Redis does with each argument of a write costs more than the joining. The request's id comes last, since it alone
-- is a client's text.
function events.add(p, at, id, payment, v, from, to, payment_status, cause, request)
    local stream = key.events(p)
    local entry = id .. '|' .. payment .. '|' .. v .. '|' .. from .. '|' .. to .. '|' .. payment_status .. '|' .. cause .. '|' .. request
    if type(redis.pcall('XADD', stream, at .. '-*', 'e', entry)) == 'table' then
        call('XADD', stream, '*', 'e', entry)
    end
end

-- The parts of an entry as a list, in the order of add's arguments.
function events.parse(text)
    return {text:match('^(%d+)|(%d*)|(%d+)|(%l*)|(%l+)|([%l_]+)|([%l_]+)|(.*)$')}
end
