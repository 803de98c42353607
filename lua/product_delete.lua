-- Removes a product of which no units are held. Its ledger stays, and among its stock the marks, its last versions and when it was deleted.
--
-- KEYS[1]  product:{p}:ID
-- ARGV     p, id; expected: a version, or * for any
-- answers  OK, NOT_FOUND, STALE v, HELD held committed
-- writes   KEYS[1], stock:{p}:ID, products:{p}, asks:{p}

local takes = arguments.of('product_delete', 'product', 'partition id count_or_any')

local function product_delete(keys, args)
    local no, _, _, plain = guard.enter(takes, keys, args)
    if no then return no end
    local p, id = args[1], args[2]

    local v = call('HGET', keys[1], 'v')
    if not v then
        return {code.NOT_FOUND}
    end
    local stale = products.stale(v, args[3])
    if stale then
        return stale
    end
    local counters = stock.read(p, id)
    if counters.held > 0 or counters.committed > 0 then
        return {code.HELD, counters.held, counters.committed}
    end
    call('DEL', keys[1])
    call('ZREM', key.products(p), id)
    stock.remove(counters, v, plain)
    return {code.OK}
end
