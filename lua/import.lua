-- Many products of one partition at once: those with an id are created or replaced, those without are created under the partition's next ids.
--
-- KEYS[1]  idem:{p}:HASH: of this part of the import
-- ARGV     p, fp; then for each product: id, or empty for a new one; doc; on_hand: its first stock, or empty
-- answers  OK results: for each product "id,v", with | between them. v is 1 for one that was created, + and its version for one that was created
--          under an id that had a product before, 0 for one that is there and came with an on_hand, which would be another stock than it has: nothing
--          was done with that one; else the version that replaced it
--          REPLAY results: done before by this key
--          KEY_REUSED
-- writes   KEYS[1], product:{p}:ID, stock:{p}:ID, moves:{p}:ID, products:{p}, asks:{p}, seq:{p}

local takes = arguments.of('import', 'idem', 'partition fp', 'id? bytes count?')

-- What there is under these ids: their versions, and of those that will be created, what a former one has left. Most imports are of products of which
-- there is nothing at all, so that is asked first.
local function find(p, ids)
    local names, found, former, count = {}, {}, {}, #ids
    for n = 1, count do
        names[2 * n - 1], names[2 * n] = key.product(p, ids[n]), key.stock(p, ids[n])
    end
    if call('EXISTS', unpack(names)) > 0 then
        for n = 1, count do
            found[n] = call('HGET', names[2 * n - 1], 'v')
            former[n] = not found[n] and products.former(p, ids[n]) or nil
        end
    end
    return found, former
end

-- Gives each new product its id, and takes the sequence along with ids that clients chose in order. Returns the ids and the sequence, or nil when an
-- id is there twice: then what comes last would depend on how a worker cut its batches.
local function number(p, args)
    local before, partition, step = tonumber(call('HGET', key.sequences(p), 'product') or 0), tonumber(p), guard.partitions()
    local last, ids, taken = before, {}, {}
    for n = 3, #args - 2, 3 do
        local id = args[n]
        if id ~= '' then
            if taken[id] then return nil end
            taken[id] = true
        end
    end
    for n = 3, #args - 2, 3 do
        local id = args[n]
        if id == '' then
            repeat
                last = last + 1
                id = int.text(last * step + partition)
            until not taken[id] and call('EXISTS', key.product(p, id)) == 0
        elseif tonumber(id) == (last + 1) * step + partition then
            last = last + 1
        end
        ids[#ids + 1] = id
    end
    return ids, last > before and last or nil
end

-- Writes one product. Returns its new version as its result says it.
local function put(p, id, v, doc, on_hand, former, now)
    if not v then
        local first = products.create(p, id, doc, on_hand == '' and '0' or on_hand, former, now)
        return first == '1' and first or '+' .. first
    elseif on_hand ~= '' then
        return '0'
    end
    local next_v = int.text(tonumber(v) + 1)
    call('HSET', key.product(p, id), 'v', next_v, 'doc', doc)
    return next_v
end

local function import(keys, args)
    local no, now = guard.enter(takes, keys, args)
    if no then return no end
    local p, fp = args[1], args[2]

    local decision, record = idem.read(keys[1], fp, 'results')
    if decision == 'reused' then
        return {code.KEY_REUSED}
    elseif decision then
        return {code.REPLAY, record[3]}
    end
    local ids, last = number(p, args)
    if not ids then
        return redis.error_reply('ERR souk: an id twice in import')
    end
    local found, former = find(p, ids)

    local results, created = {}, {}
    for n = 1, #ids do
        local id, at = ids[n], 3 * n
        local v = put(p, id, found[n], args[at + 1], args[at + 2], former[n], now)
        results[n] = id .. ',' .. v
        if not found[n] then
            created[#created + 1] = id
        end
    end
    products.list(p, created)
    if last then
        call('HSET', key.sequences(p), 'product', int.text(last))
    end
    local text = table.concat(results, '|')
    idem.write(keys[1], fp, 'done', 'results', text)
    return {code.OK, text}
end
