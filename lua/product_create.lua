-- A new product under an id of the partition's own sequence.
--
-- KEYS[1]  idem:{p}:HASH
-- ARGV     p, fp; doc: the document; on_hand: its first stock
-- answers  OK id v
--          REPLAY id v doc: created before by this key, and how it was then
--          KEY_REUSED
-- writes   KEYS[1], seq:{p}, product:{p}:ID, stock:{p}:ID, moves:{p}:ID, products:{p}, asks:{p}

local takes = arguments.of('product_create', 'idem', 'partition fp bytes count')

-- The next id that no product has: a client may have chosen ids ahead of the sequence. Returns the sequence too.
local function free_id(p)
    local partitions, sequence = guard.partitions(), tonumber(call('HGET', key.sequences(p), 'product') or 0)
    local id
    repeat
        sequence = sequence + 1
        id = int.text(sequence * partitions + p)
    until call('EXISTS', key.product(p, id)) == 0
    return id, sequence
end

local function product_create(keys, args)
    local no, now = guard.enter(takes, keys, args)
    if no then return no end
    local p, fp, doc = args[1], args[2], args[3]

    local decision, record = idem.read(keys[1], fp, 'id', 'v', 'doc')
    if decision == 'reused' then
        return {code.KEY_REUSED}
    elseif decision then
        return {code.REPLAY, record[3], record[4], record[5]}
    end
    local id, sequence = free_id(p)
    local former = products.former(p, id)

    call('HSET', key.sequences(p), 'product', int.text(sequence))
    local v = products.create(p, id, doc, args[4], former, now)
    products.list(p, {id})
    idem.write(keys[1], fp, 'done', 'id', id, 'v', v, 'doc', doc)
    return {code.OK, id, v}
end
