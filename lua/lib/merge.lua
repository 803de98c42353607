-- A k-way merge: many sorted sources read as one, each only as far as somebody looks.
--
-- A source is a table. Its next entry stands in `rank` (a number) and `member` (orders entries of equal rank). Two functions come from whoever
-- merges: step(source) moves a source to its next entry and answers false at its end; before(a, b) orders two members. The sources stand in a
-- binary heap, the next entry at heap[1], so taking one costs log2(k) comparisons.

local CHUNK_MAX = 256

-- How many entries a source fetches at first. A page that is spread evenly over all sources then needs one fetch of each; every further fetch of
-- a source takes twice as many, so that one which holds everything is read in a few.
function merge.chunk(wanted, sources)
    return math.min(CHUNK_MAX, math.ceil(wanted / sources) + 1)
end

function merge.next_chunk(chunk)
    return math.min(CHUNK_MAX, chunk * 2)
end

function merge.ascending(a, b) return a < b end
function merge.descending(a, b) return a > b end

-- Moves the source at ${at} down to where it belongs.
local function sink(heap, at)
    local before, count, moving = heap.before, heap.count, heap[at]
    local rank, member = moving.rank, moving.member
    local child = at * 2
    while child <= count do
        local first, other = heap[child], heap[child + 1]
        if other and (other.rank < first.rank or (other.rank == first.rank and before(other.member, first.member))) then
            child, first = child + 1, other
        end
        if rank < first.rank or (rank == first.rank and before(member, first.member)) then
            break
        end
        heap[at] = first
        at, child = child, child * 2
    end
    heap[at] = moving
end

-- Begins to merge the sources. The source whose entry is next is heap[1], nil at the end of all.
function merge.start(sources, step, before)
    local heap = {step = step, before = before, count = 0}
    for n = 1, #sources do
        if step(sources[n]) then
            heap.count = heap.count + 1
            heap[heap.count] = sources[n]
        end
    end
    for at = math.floor(heap.count / 2), 1, -1 do
        sink(heap, at)
    end
    return heap
end

-- Leaves the entry of heap[1] behind.
function merge.advance(heap)
    if not heap.step(heap[1]) then
        heap[1] = heap[heap.count]
        heap[heap.count] = nil
        heap.count = heap.count - 1
    end
    if heap.count > 0 then
        sink(heap, 1)
    end
end

-- A source that reads a sorted set from behind (score, member), or from its start when ${score} is empty. ${ascending}: by (score, member as text),
-- else the other way. Its entry has `score` and `member` as text. Step it with merge.step_index.
function merge.index_source(name, ascending, score, member, chunk)
    local source = {key = name, items = {}, at = 0, offset = 0, chunk = chunk}
    source.sign = ascending and 1 or -1
    source.command = ascending and 'ZRANGEBYSCORE' or 'ZREVRANGEBYSCORE'
    source.before = ascending and merge.ascending or merge.descending
    source.from = ascending and '-inf' or '+inf'
    source.to = ascending and '+inf' or '-inf'
    if score ~= '' then
        source.from, source.after_rank, source.after_member = score, tonumber(score) * source.sign, member
    end
    return source
end

-- Fetches the next chunk; answers false at the end. The set cannot change while a function runs, so an offset is exact, and unlike a score it also
-- gets past any number of equal ones.
local function refill(source)
    if source.ended then
        return false
    end
    local chunk = source.chunk
    source.items = call(source.command, source.key, source.from, source.to, 'WITHSCORES', 'LIMIT', source.offset, chunk)
    source.at = 0
    source.ended = #source.items < chunk * 2
    source.offset = source.offset + chunk
    source.chunk = merge.next_chunk(chunk)
    return #source.items > 0
end

function merge.step_index(source)
    repeat
        if source.at == #source.items and not refill(source) then
            return false
        end
        local at = source.at
        source.member, source.score = source.items[at + 1], source.items[at + 2]
        source.rank = tonumber(source.score) * source.sign
        source.at = at + 2
    until source.rank ~= source.after_rank or source.before(source.after_member, source.member)
    return true
end
