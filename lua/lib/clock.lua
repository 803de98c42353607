-- This shard's time. It never runs backwards, also when the machine's clock is set back or a copy on another machine takes the shard's place: in one
-- process by what was told last, and for whoever adds events by the last event that is there (lib/events.lua). No two calls see the same microsecond:
-- creation times order the indexes, and the feed's cursors are times.

clock.DIFFER_MS = 300000 -- two shards' clocks differ by less than this, and move by less against each other; so do two machines' that a shard was on

-- After so long without a reading somebody else may have told the time here: a process before this one, another version of the library, a machine
-- that was the primary meanwhile.
local ALONE_US = 1000000

local last_us = 0       -- told last
local last_plain_us = 0 -- what TIME said then
local alone = false     -- nobody can have told a later time since clock.follow

-- Returns the time in ms, in µs since 1970, and in ms what TIME says, which is behind the first while a clock that was set back is. A clock that
-- was ahead by more than clocks differ was wrong: what it told is not believed.
function clock.read()
    local time = call('TIME')
    local plain_us = time[1] * 1000000 + time[2]
    local us = plain_us
    alone = alone and plain_us >= last_plain_us and plain_us - last_plain_us < ALONE_US
    if us <= last_us and last_us - us < clock.DIFFER_MS * 1000 then
        us = last_us + 1
    end
    last_us, last_plain_us = us, plain_us
    return (us - us % 1000) / 1000, us, (plain_us - plain_us % 1000) / 1000
end

-- For who must not come behind what others told, with the time as it was read: returns it as it is then, in ms and in µs. Unless there was nobody
-- else, that is behind ${last_told}, which is given a time in ms and returns the last that anybody has told, if that is later, and else the same.
function clock.follow(now, now_us, last_told)
    if alone then
        return now, now_us
    end
    alone = true
    local last = last_told(now - 1)
    if last < now then
        return now, now_us
    end
    last_us = (last + 1) * 1000
    return last + 1, last_us
end
