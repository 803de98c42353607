-- A product's record. Its stock is beside it and made with it.

-- Are there holds or marks of a former product with this id? For products.create.
function products.kept_holds(p, id)
    return call('EXISTS', key.holds(p, id)) == 1
end

-- Makes product, stock and ledger entry; the caller puts it into the index too, by products.list. All but ${now} and ${kept} is text. Cannot fail: the
-- caller has made sure that there is none.
function products.create(p, id, doc, on_hand, kept, now)
    call('HSET', key.product(p, id), 'v', '1', 'doc', doc)
    local counters = {key = key.stock(p, id), p = p, id = id, on_hand = 0, held = 0, committed = 0, v = 0, ask = 0}
    if kept then
        stock.ask(counters, now) -- when the kept ones are due is not known here; the first look finds out
    end
    stock.change(counters, {kind = 'create', units = {on_hand = 1, held = 0, committed = 0}}, tonumber(on_hand), '', '')
end

-- Puts these ids into the index.
function products.list(p, ids)
    if #ids == 0 then
        return
    end
    local entries = {}
    for n = 1, #ids do
        entries[2 * n - 1], entries[2 * n] = ids[n], ids[n]
    end
    call('ZADD', key.products(p), unpack(entries))
end

-- The answer if the version ${v} is not the expected one, else nil. `*` expects any.
function products.stale(v, expected)
    if expected ~= '*' and expected ~= v then
        return {code.STALE, v}
    end
    return nil
end
