-- A product's record. Its stock is beside it and made with it.

-- What a former product with this id has left (stock.former), nil if nothing. For products.create, when there is no product.
function products.former(p, id)
    return call('EXISTS', key.stock(p, id)) == 1 and stock.former(p, id) or nil
end

-- Makes product, stock and ledger entry; the caller puts it into the index too, by products.list. Returns the version as text. It goes on behind that
-- of the former one: a version never comes again, so whoever names one means what he has seen. All but ${now} and ${former} is text. Cannot fail: the
-- caller has made sure that there is none.
function products.create(p, id, doc, on_hand, former, now)
    local v = former and int.text(former.v + 1) or '1'
    call('HSET', key.product(p, id), 'v', v, 'doc', doc)
    stock.create(p, id, on_hand, former, now)
    return v
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
