-- A product's record. Its stock is beside it and made with it.

-- Are there marks of a former product with this id? For products.create, when there is no product.
function products.kept_marks(p, id)
    return call('EXISTS', key.stock(p, id)) == 1
end

-- Makes product, stock and ledger entry; the caller puts it into the index too, by products.list. All but ${now} and ${kept} is text. Cannot fail:
-- the caller has made sure that there is none.
function products.create(p, id, doc, on_hand, kept, now)
    call('HSET', key.product(p, id), 'v', '1', 'doc', doc)
    stock.create(p, id, on_hand, kept and now or nil) -- when kept ones are due is not known here; the first look finds out
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
