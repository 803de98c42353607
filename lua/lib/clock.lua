-- This shard's time. It never runs backwards, not even when the machine's clock is set back or a copy on another machine takes the shard's place: in
-- one process by what was told last, and in one that begins by the events that it finds. No two calls see the same microsecond: creation times order
-- the indexes, and the feed's cursors are times.

clock.DIFFER_MS = 300000 -- two shards' clocks differ by less than this, and so do two machines' that a shard was on

local last_us = 0

-- Is there an event of this partition at ${ms} or later?
local function has_event(p, ms)
    return call('XRANGE', key.events(p), int.text(ms), '+', 'COUNT', '1')[1] ~= nil
end

-- The millisecond of the last event of this shard that is later than ${ms}, ${ms} if none is. Found by halving, for there can be many. What is
-- further ahead than clocks differ was written by one that was wrong, and is not believed.
local function last_event(ms)
    local limit = ms + clock.DIFFER_MS
    for p = 0, (guard.partitions() or 0) - 1 do
        if has_event(p, ms + 1) and not has_event(p, limit) then
            for n = 18, 0, -1 do -- 2^19 ms are more than clocks differ
                ms = has_event(p, ms + 2 ^ n) and ms + 2 ^ n or ms
            end
        end
    end
    return ms
end

-- What a process that begins has to take for told: all of the last event's millisecond.
local function told_before(ms)
    local last = last_event(ms)
    return last > ms and last * 1000 + 999 or 1
end

-- Returns the time in ms, in µs since 1970, and in ms what TIME says, which is behind the first while a clock that was set back is.
function clock.read()
    local time = call('TIME')
    local us = time[1] * 1000000 + time[2]
    local plain_ms = (us - us % 1000) / 1000
    if last_us == 0 then
        last_us = told_before(plain_ms)
    end
    if us <= last_us then
        us = last_us + 1
    end
    last_us = us
    return (us - us % 1000) / 1000, us, plain_ms
end
