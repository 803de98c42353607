-- This shard's time. It never runs backwards in one process, and no two calls see the same microsecond: creation times order the indexes.

local last_us = 0

-- Returns the time in ms and in µs since 1970.
function clock.read()
    local time = call('TIME')
    local us = time[1] * 1000000 + time[2]
    if us <= last_us then
        us = last_us + 1
    end
    last_us = us
    return (us - us % 1000) / 1000, us
end
