-- A product under an id that the client chose, or a new document for one that exists.
--
-- KEYS[1]  product:{p}:ID
-- ARGV     p, id; mode: create or replace; expected: in replace a version, or * for any; doc; on_hand: in create the first stock
-- answers  OK v
--          NOT_FOUND: nothing to replace
--          STALE v: there is one (create), or it has another version (replace)
--          LATE: it was sent before the product was deleted (create): the request was done by a repeat, and its product is no more
-- writes   KEYS[1]; in create also stock:{p}:ID, moves:{p}:ID, products:{p}, asks:{p}, seq:{p}

local takes = arguments.of('product_put', 'product', 'partition id create|replace count_or_any? bytes count?')

-- Keeps the sequence of product_create behind ids that clients choose in order, so that it need not step over them one by one.
local function raise_sequence(p, id, partitions, last)
    if tonumber(id) == (last + 1) * partitions + p then
        call('HSET', key.sequences(p), 'product', int.text(last + 1))
    end
end

local function create(p, id, doc, on_hand, former, now)
    local partitions, last = guard.partitions(), tonumber(call('HGET', key.sequences(p), 'product') or 0)

    local v = products.create(p, id, doc, on_hand, former, now)
    products.list(p, {id})
    raise_sequence(p, id, partitions, last)
    return {code.OK, v}
end

local function product_put(keys, args)
    local no, now, _, plain = guard.enter(takes, keys, args)
    if no then return no end
    local p, id, mode, expected, doc, on_hand = args[1], args[2], args[3], args[4], args[5], args[6]
    if mode == 'create' and on_hand == '' then
        return redis.error_reply('ERR souk: bad argument 6 of product_put')
    elseif mode == 'replace' and expected == '' then
        return redis.error_reply('ERR souk: bad argument 4 of product_put')
    end

    local v = call('HGET', keys[1], 'v')
    if mode == 'create' and v then
        return {code.STALE, v}
    elseif mode == 'create' then
        local former = products.former(p, id)
        local late = former and guard.sent_before(args, former.deleted, plain)
        return late and {code.LATE} or create(p, id, doc, on_hand, former, now)
    elseif not v then
        return {code.NOT_FOUND}
    end
    local stale = products.stale(v, expected)
    if stale then
        return stale
    end
    local next_v = tonumber(v) + 1
    call('HSET', keys[1], 'v', int.text(next_v), 'doc', doc)
    return {code.OK, next_v}
end
