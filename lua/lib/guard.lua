-- The first step of every function that writes. Behind the function's own arguments stand two that the sender adds: the ring epoch, and the
-- latest time of this shard at which the call may act, so that neither a worker with an old ring nor a call that lay about does anything.

-- Returns no, now in ms, now in µs, the number of partitions. ${no} is the answer to give at once, nil when the function may go on.
function guard.enter(takes, keys, args)
    local wrong = arguments.wrong(takes, keys, args, 2)
    if wrong then
        return wrong
    end
    local limit = tonumber(args[#args])
    if not limit then
        return redis.error_reply('ERR souk: bad limit of ' .. takes.name)
    end
    local shard = call('HMGET', key.SHARD, 'epoch', 'partitions')
    if shard[1] ~= args[#args - 1] then
        return {code.RING}
    end
    local now, now_us = clock.read()
    if now > limit then
        return {code.LATE}
    end
    return nil, now, now_us, shard[2]
end
