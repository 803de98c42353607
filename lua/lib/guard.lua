-- The first step of every function that writes. Behind the function's own arguments stand two that the sender adds: the ring epoch, and the
-- latest time of this shard at which the call may act, so that neither a worker with an old ring nor a call that lay about does anything.

local TRAVEL_MS = 30000 -- a call's limit is so long behind its sending (STORE_LIMIT_MS)

-- A sender's copy of the time is behind by the way of the answer that told it. This is more than such a way takes, and less than the 2 s after which
-- a sender takes a call for lost.
local WAY_MS = 1000

-- Returns no, now in ms, now in µs, and in ms what TIME says. ${no} is the answer to give at once, nil when the function may go on.
function guard.enter(takes, keys, args)
    local wrong = arguments.wrong(takes, keys, args, 2)
    if wrong then
        return wrong
    end
    local limit = tonumber(args[#args])
    if not limit then
        return redis.error_reply('ERR souk: bad limit of ' .. takes.name)
    end
    if call('HGET', key.SHARD, 'epoch') ~= args[#args - 1] then
        return {code.RING}
    end
    local now, now_us, plain = clock.read()
    if plain > limit then -- the sender has its limit from TIME
        return {code.LATE}
    end
    return nil, now, now_us, plain
end

-- Was the call sent before ${ms}, and ${ms} told by a clock that has not been set back since? Both times, and ${plain}, are those of TIME.
function guard.sent_before(args, ms, plain)
    return args[#args] - TRAVEL_MS + WAY_MS < ms and ms <= plain
end

-- The number of partitions, for those who make ids. If the shard does not say it, it fails here, and not where it is used behind a write.
function guard.partitions()
    return call('HGET', key.SHARD, 'partitions') + 0
end
