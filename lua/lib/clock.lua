-- This shard's time. It never runs backwards, not even when the machine's clock is set back or a copy on another machine takes the shard's place: in
-- one process by what was told last, and in one that begins by the last event that it finds (lib/events.lua). No two calls see the same microsecond:
-- creation times order the indexes, and the feed's cursors are times.

clock.DIFFER_MS = 300000 -- two shards' clocks differ by less than this, and so do two machines' that a shard was on

local last_us = 0
local begun = false

-- Returns the time in ms, in µs since 1970, and in ms what TIME says, which is behind the first while a clock that was set back is.
function clock.read()
    local time = call('TIME')
    local us = time[1] * 1000000 + time[2]
    local plain_ms = (us - us % 1000) / 1000
    if us <= last_us then
        us = last_us + 1
    end
    last_us = us
    return (us - us % 1000) / 1000, us, plain_ms
end

-- Once in a process: goes on behind ${last_told}, which is given the time in ms and returns the last that a process before this one has told, if
-- that is later, and else the same.
function clock.begin(last_told)
    if begun then
        return
    end
    local now = clock.read()
    local last = last_told(now)
    if last > now then
        last_us = last * 1000 + 999
    end
    begun = true
end
