-- flags: no-writes
-- A page of a list that is spread over many indexes: a merge that reads no more of each than the page needs.
--
-- KEYS     the indexes, of any partitions of this shard
-- ARGV     kind: order, product or payment, whose records are read; order: asc or desc, by (score, member as text); limit; score and member: begin
--          behind this entry, both empty: at the start; state (of a payment: its status) and payment_status: only those, empty: all; the fields
--          wanted, any number
-- answers  OK more score member [score member field…]…: more is 1 when something is left behind (score, member), the last entry looked at

local takes = arguments.of('list', nil, 'order|product|payment asc|desc positive count? id? bytes bytes')

-- With a filter that matches little, a page may end before it is full, so that no call runs long.
local LOOKED_MAX = 1000

local function sources_of(keys, args)
    local sources, chunk = {}, merge.chunk(args[3], #keys)
    for n = 1, #keys do
        local source = merge.index_source(keys[n], args[2] == 'asc', args[4], args[5], chunk)
        source.records = args[1] .. ':' .. keys[n]:match('{%d+}') .. ':'
        sources[n] = source
    end
    return sources
end

-- The entry's row, or nil when its record is not there or not wanted. ${names}: v, then the fields of the filter, then those wanted.
local function row_of(source, names, filter)
    local values = call('HMGET', source.records .. source.member, unpack(names))
    if not values[1] then
        return nil
    end
    for n = 1, #filter do
        if values[n + 1] ~= filter[n] then
            return nil
        end
    end
    return {source.score, source.member, unpack(values, #filter + 2)}
end

-- What the arguments ask for: the names for row_of, and what the first of them must be.
local function names_of(args)
    local names, filter = {'v'}, {}
    if args[6] ~= '' then
        names[2], filter[1] = args[1] == 'payment' and 'status' or 'state', args[6]
    end
    if args[7] ~= '' then
        names[#names + 1], filter[#filter + 1] = 'payment_status', args[7]
    end
    for n = takes.count + 1, #args do
        names[#names + 1] = args[n]
    end
    return names, filter
end

local function list(keys, args)
    local wrong = arguments.wrong(takes, keys, args, math.max(0, #args - takes.count))
    if wrong then return wrong end
    for n = 1, #keys do
        if not keys[n]:find('{%d+}') then
            return redis.error_reply('ERR souk: bad key of list')
        end
    end
    local limit = tonumber(args[3])
    local names, filter = names_of(args)

    local heap = merge.start(sources_of(keys, args), merge.step_index, args[2] == 'asc' and merge.ascending or merge.descending)
    local answer, looked = {code.OK, 0, args[4], args[5]}, 0
    while heap[1] and #answer < limit + 4 and looked < limit + LOOKED_MAX do
        local source = heap[1]
        answer[#answer + 1] = row_of(source, names, filter)
        answer[3], answer[4] = source.score, source.member
        looked = looked + 1
        merge.advance(heap)
    end
    answer[2] = heap[1] and 1 or 0
    return answer
end
