-- New documents for many products of one partition, each if it has still the version that its document was made from.
--
-- KEYS[1]  products:{p}
-- ARGV     p; then for each product: id; expected: its version; doc
-- answers  OK v…: for each product, in their order, its new version; empty when it is not there, or has another version
-- writes   product:{p}:ID

local takes = arguments.of('product_replace', 'products', 'partition', 'id positive bytes')

local function product_replace(keys, args)
    local no = guard.enter(takes, keys, args)
    if no then return no end
    local p = args[1]

    local versions, taken = {code.OK}, {}
    for n = 2, #args - 2, 3 do
        local id, expected = args[n], args[n + 1]
        if taken[id] then
            return redis.error_reply('ERR souk: an id twice in product_replace')
        end
        taken[id] = true
        local v = call('HGET', key.product(p, id), 'v')
        versions[#versions + 1] = v == expected and int.text(tonumber(v) + 1) or ''
    end
    for n = 2, #args - 2, 3 do
        local v = versions[(n - 2) / 3 + 2]
        if v ~= '' then
            call('HSET', key.product(p, args[n]), 'v', v, 'doc', args[n + 2])
        end
    end
    return versions
end
