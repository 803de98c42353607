-- flags: no-writes
-- The feed of this shard: what happened to its orders, merged over its partitions.
--
-- KEYS[1]  souk:shard
-- ARGV     after_ms, limit, the partitions with commas between them
-- answers  OK upto [p stream-id order payment v from to payment_status cause request]…: every event with after_ms < ms ≤ upto, by stream id. About
--          ${limit}: the events of one millisecond are never cut, so that a cursor is a time. upto is the time of the last one, since the shard
--          never goes behind its last event; when there are no more, at least 5 minutes ago, which no clock that is set back goes behind. So nothing
--          can be added at or before it

local takes = arguments.of('events', nil, 'count positive text')

-- Moves to the stream's next entry: by time, then by the number within it.
local function step(source)
    if source.at == #source.items then
        if source.ended then
            return false
        end
        source.items = call('XRANGE', source.key, source.from, source.to, 'COUNT', source.chunk)
        source.at, source.ended = 0, #source.items < source.chunk
        source.chunk = merge.next_chunk(source.chunk)
        if #source.items == 0 then
            return false
        end
        source.from = '(' .. source.items[#source.items][1]
    end
    source.at = source.at + 1
    source.entry = source.items[source.at]
    local ms, number = source.entry[1]:match('^(%d+)-(%d+)$')
    source.rank, source.member = tonumber(ms), tonumber(number)
    return true
end

-- What events.add wrote.
local function row_of(source)
    return {source.p, source.entry[1], unpack(events.parse(source.entry[2][2]))}
end

local function sources_of(partitions, limit, from, to)
    local sources = {}
    for p in partitions:gmatch('%d+') do
        sources[#sources + 1] = {p = p, key = key.events(p), from = from, to = to, items = {}, at = 0}
    end
    for n = 1, #sources do
        sources[n].chunk = merge.chunk(limit, #sources)
    end
    return sources
end

local function events(keys, args)
    local wrong = arguments.wrong(takes, keys, args, 0)
    if wrong then return wrong end
    if #keys ~= 1 or keys[1] ~= key.SHARD then
        return redis.error_reply('ERR souk: bad key of events')
    end
    local after, limit = tonumber(args[1]), tonumber(args[2])
    local over = clock.read() - 1 -- the last millisecond that is

    local sources = sources_of(args[3], limit, int.text(after + 1), int.text(over))
    local heap = merge.start(sources, step, merge.ascending)
    local answer = {code.OK, after}
    while heap[1] do
        local source = heap[1]
        if #answer >= limit + 2 and source.rank > answer[2] then
            return answer
        end
        answer[2] = source.rank
        answer[#answer + 1] = row_of(source)
        merge.advance(heap)
    end
    answer[2] = math.max(answer[2], over - clock.DIFFER_MS)
    return answer
end
