-- Many products of one partition at once: those with an id are created or replaced, those without are created under the partition's next ids.
--
-- KEYS[1]  idem:{p}:HASH: of this part of the import
-- ARGV     p, fp; then for each product: id, or empty for a new one; doc; on_hand: its first stock, or empty
-- answers  OK results: for each product "id,v", with | between them; v is 1 for one that was created, 0 for one that is there and came with an on_hand,
--          which would be another stock than it has: nothing was done with that one
--          REPLAY results: done before by this key
--          KEY_REUSED
-- writes   KEYS[1], product:{p}:ID, stock:{p}:ID, moves:{p}:ID, products:{p}, asks:{p}, seq:{p}

local takes = arguments.of('import', 'idem', 'partition fp', 'id? bytes count?')

-- What there is under the ids that are given: id → version. Most imports are of products that are all there or all new, so that is asked first.
local function find(p, args)
    local names, found = {}, {}
    for n = 3, #args - 2, 3 do
        if args[n] ~= '' then
            names[#names + 1] = key.product(p, args[n])
        end
    end
    if #names == 0 or call('EXISTS', unpack(names)) == 0 then
        return found
    end
    for n = 3, #args - 2, 3 do
        found[args[n]] = args[n] ~= '' and call('HGET', key.product(p, args[n]), 'v') or nil
    end
    return found
end

-- Gives each new product its id, and takes the sequence along with ids that clients chose in order. Returns the ids and the sequence, or nil when an
-- id is there twice: then what comes last would depend on how a worker cut its batches.
local function number(p, args, partitions)
    local before = tonumber(call('HGET', key.sequences(p), 'product') or 0)
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
                id = int.text(last * partitions + p)
            until not taken[id] and call('EXISTS', key.product(p, id)) == 0
        elseif tonumber(id) == (last + 1) * partitions + p then
            last = last + 1
        end
        ids[#ids + 1] = id
    end
    return ids, last > before and last or nil
end

-- Of the products that will be created, those that have holds or marks of a former one.
local function find_kept(p, ids, found)
    local names, kept = {}, {}
    for n = 1, #ids do
        if not found[ids[n]] then
            names[#names + 1] = key.holds(p, ids[n])
        end
    end
    if #names > 0 and call('EXISTS', unpack(names)) > 0 then
        for n = 1, #ids do
            kept[ids[n]] = products.kept_holds(p, ids[n])
        end
    end
    return kept
end

-- Writes one product. Returns its new version as text.
local function put(p, id, v, doc, on_hand, kept, now)
    if not v then
        products.create(p, id, doc, on_hand == '' and '0' or on_hand, kept, now)
        return '1'
    elseif on_hand ~= '' then
        return '0'
    end
    local next_v = int.text(tonumber(v) + 1)
    call('HSET', key.product(p, id), 'v', next_v, 'doc', doc)
    return next_v
end

local function import(keys, args)
    local no, now, now_us, partitions = guard.enter(takes, keys, args)
    if no then return no end
    local p, fp = args[1], args[2]

    local decision, record = idem.read(keys[1], fp, 'results')
    if decision == 'reused' then
        return {code.KEY_REUSED}
    elseif decision then
        return {code.REPLAY, record[3]}
    end
    local ids, last = number(p, args, partitions)
    if not ids then
        return redis.error_reply('ERR souk: an id twice in import')
    end
    local found = find(p, args)
    local kept = find_kept(p, ids, found)

    local results, created = {}, {}
    for n = 1, #ids do
        local id, at = ids[n], 3 * n
        local v = put(p, id, found[id], args[at + 1], args[at + 2], kept[id], now)
        results[n] = id .. ',' .. v
        if v == '1' then
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
