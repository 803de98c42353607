-- flags: no-writes
-- One record as JSON, for people: redis-cli FCALL_RO souk_show 1 'order:{17}:4369'
--
-- KEYS[1]  an order, payment, product, stock or idem key
-- answers  JSON text: the record with its document decoded, its history and its refunds as lists; null when there is none
--
-- A library of its own, so that cjson and cmsgpack stay out of the transitions. It shares no fragments.

local EXACT_MAX = 9007199254740991

-- An element of a JSON object, in the order in which people should read them.
local function add(out, name, text)
    out[#out + 1] = cjson.encode(name) .. ':' .. text
end

local function object(out) return '{' .. table.concat(out, ',') .. '}' end
local function list(out) return '[' .. table.concat(out, ',') .. ']' end

-- cjson prints numbers with 14 digits, so they are printed here.
local function number(value)
    return value % 1 == 0 and math.abs(value) <= EXACT_MAX and string.format('%.0f', value) or string.format('%.17g', value)
end

-- Text that is an integer which a number holds exactly becomes one; other text stays text.
local function field(text)
    local exact = (text == '0' or text:find('^%-?[1-9]%d*$')) and #text <= 17 and math.abs(tonumber(text)) <= EXACT_MAX
    return exact and text or cjson.encode(text)
end

local function value(of)
    if type(of) == 'number' then
        return number(of)
    elseif type(of) ~= 'table' then
        return cjson.encode(of)
    end
    local out, names = {}, {}
    if #of > 0 then
        for n = 1, #of do
            out[n] = value(of[n])
        end
        return list(out)
    end
    for name in pairs(of) do
        names[#names + 1] = tostring(name)
    end
    table.sort(names)
    for n = 1, #names do
        local member = of[names[n]]
        if member == nil then
            member = of[tonumber(names[n])]
        end
        add(out, names[n], value(member))
    end
    return object(out)
end

-- A document that cmsgpack cannot read is named, not hidden.
local function document(text)
    local good, decoded = pcall(cmsgpack.unpack, text)
    return good and value(decoded) or cjson.encode('not readable here, ' .. #text .. ' bytes')
end

-- The parts of a text with | between them; the last takes the rest.
local function parts(text, names, first_name, first)
    local out, rest = {}, text
    if first_name then
        add(out, first_name, first)
    end
    for n = 1, #names do
        local part, after = rest:match('^([^|]*)|(.*)$')
        if n == #names or not part then
            part, after = rest, ''
        end
        add(out, names[n], field(part))
        rest = after
    end
    return object(out)
end

local ORDER_FIELDS = {
    'state', 'payment_status', 'v', 'user', 'total', 'currency', 'created', 'updated', 'expires', 't',
    'payments', 'reason',
}
local PAYMENT_FIELDS = {
    'status', 'v', 'order_id', 'amount', 'currency', 'captured', 'refunded', 'refunding', 'op', 'capture', 'created', 'updated', 'gateway_ref',
    'failure', 'ikey',
}
local TEXT = {user = true, t = true, payments = true, reason = true, gateway_ref = true, failure = true, ikey = true, currency = true, fp = true}

-- kind → its fields in order (others follow by name), how eV, refundN and holds read.
local kinds = {
    order = {fields = ORDER_FIELDS, history = {'state', 'payment_status', 'expires', 'at', 'cause', 'request'}},
    payment = {
        fields = PAYMENT_FIELDS, history = {'status', 'captured', 'refunded', 'at', 'cause', 'failure', 'request'},
        refunds = {'status', 'amount', 'created', 'op', 'ikey', 'updated', 'reason'},
    },
    product = {fields = {'v'}},
    stock = {fields = {'on_hand', 'held', 'committed', 'v', 'ask'}, holds = {'phase', 'quantity', 'order_partition', 'when', 'since'}},
    idem = {fields = {'s', 'fp', 'id', 'n', 'v', 'status'}},
}

-- The numbered fields prefix1, prefix2, … as a list; they leave the record.
local function numbered(record, prefix, names, label)
    local out, n = {}, 1
    while record[prefix .. n] do
        out[n] = parts(record[prefix .. n], names, label, tostring(n))
        record[prefix .. n] = nil
        n = n + 1
    end
    return list(out)
end

-- ${holds}: how a field reads whose name is a transaction's.
local function rest_of(out, record, holds)
    local names = {}
    for name in pairs(record) do
        names[#names + 1] = name
    end
    table.sort(names)
    for n = 1, #names do
        local name, text = names[n], record[names[n]]
        add(out, name, holds and name:find('.', 1, true) and parts(text, holds) or TEXT[name] and cjson.encode(text) or field(text))
    end
end

local function show_record(name, kind, record)
    local out = {}
    add(out, 'key', cjson.encode(name))
    for n = 1, #kind.fields do
        local of = kind.fields[n]
        if record[of] then
            add(out, of, TEXT[of] and cjson.encode(record[of]) or field(record[of]))
            record[of] = nil
        end
    end
    local doc = record.doc
    record.doc, record.refunds = nil, nil
    if doc then
        add(out, 'doc', document(doc))
    end
    if kind.refunds then
        add(out, 'refunds', numbered(record, 'refund', kind.refunds, 'n'))
    end
    if kind.history then
        add(out, 'history', numbered(record, 'e', kind.history, 'v'))
    end
    rest_of(out, record, kind.holds)
    return object(out)
end

local function show(keys, args)
    local name = #keys == 1 and keys[1]:match('^(%l+):{%d+}:')
    if not name or not kinds[name] then
        return redis.error_reply('ERR souk_show takes one key: order, payment, product, stock or idem, as in order:{17}:4369')
    end
    local all = redis.call('HGETALL', keys[1])
    if #all == 0 then
        return 'null'
    end
    local record = {}
    for n = 1, #all, 2 do
        record[all[n]] = all[n + 1]
    end
    return show_record(keys[1], kinds[name], record)
end
