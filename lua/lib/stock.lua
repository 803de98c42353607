-- The counters of one product, and beside them its holds (lib/holds.lua). Counters are made in stock.create and change in stock.change only, which
-- write the entry in the ledger with them.

local match = ('').match

local COUNTERS = {'on_hand', 'held', 'committed'}

-- The counters as numbers, from their fields as Redis gives them, or nil when there is no such product.
local function counters_of(record, p, id, values)
    if not values[1] then
        return nil
    end
    return {
        key = record, p = p, id = id,
        on_hand = tonumber(values[1]), held = tonumber(values[2]), committed = tonumber(values[3]), v = tonumber(values[4]),
        ask = tonumber(values[5] or 0), ask_moved = false,
    }
end

function stock.read(p, id)
    local record = key.stock(p, id)
    return counters_of(record, p, id, call('HMGET', record, 'on_hand', 'held', 'committed', 'v', 'ask'))
end

-- The same, and a list: behind the first stock.HOLDS_BEHIND of it the text of each transaction's hold, false when there is none. A product that was
-- deleted can have left some.
stock.HOLDS_BEHIND = 5
function stock.read_holds(p, id, ...)
    local record = key.stock(p, id)
    local values = call('HMGET', record, 'on_hand', 'held', 'committed', 'v', 'ask', ...)
    return counters_of(record, p, id, values), values
end

function stock.available(counters)
    return counters.on_hand - counters.held - counters.committed
end

-- Notes that a later look must find something at ${due}. Takes effect with stock.change or stock.write_ask.
function stock.ask(counters, due)
    if counters.ask == 0 or due < counters.ask then
        counters.ask = due
        counters.ask_moved = true
    end
end

-- Sets the time of the next look, 0 for none, in the record and in the partition's list. A product that was looked at and is still due stands in the
-- list with ${now}, behind those that nobody has come to yet.
function stock.set_ask(counters, due, now)
    call('HSET', counters.key, 'ask', int.text(due))
    if due == 0 then
        call('ZREM', key.asks(counters.p), counters.id)
    else
        call('ZADD', key.asks(counters.p), int.text(math.max(due, now)), counters.id)
    end
end

-- Notes that a hold was taken just now that may be asked about before holds.UNASKED_MS have passed.
function stock.note_brief(counters, now)
    call('HSET', counters.key, 'brief', int.text(now))
end

function stock.brief(counters)
    return tonumber(call('HGET', counters.key, 'brief') or 0)
end

function stock.write_ask(counters)
    if counters.ask_moved then
        stock.set_ask(counters, counters.ask, 0)
    end
end

-- The counters of a new product, with ${on_hand} units (text). ${former}: what one of this id has left, or nil; when its marks are due is not known
-- here, so a look finds out.
function stock.create(p, id, on_hand, former, now)
    local record, v = key.stock(p, id), '1'
    if former then
        local text = int.text(now)
        v = int.text(former.stock_v + 1)
        call('HSET', record, 'on_hand', on_hand, 'held', '0', 'committed', '0', 'v', v, 'ask', text)
        call('HDEL', record, 'deleted')
        call('ZADD', key.asks(p), text, id)
    else
        call('HSET', record, 'on_hand', on_hand, 'held', '0', 'committed', '0', 'v', v)
    end
    call('XADD', key.moves(p, id), '*', 'm', 'create|' .. on_hand .. '|||' .. on_hand .. '|0|0|' .. v .. '|')
end

local changed = {} -- of stock.change, used again: a table that grows is moved at each power of two

-- Adds to the counters and writes one entry in the ledger. ${by}: how each unit moves them and the entry's kind (states.hold). The caller has made
-- sure that nothing falls below 0. ${reason}: text for the ledger. ${hold}: the text of the transaction's hold as it is from now on, or nil.
-- Only what changes is written, in one command: every argument of a write is copied, parsed and logged by Redis, which is most of what a call costs.
function stock.change(counters, by, quantity, txn, order_id, reason, hold)
    local n = 0
    for i = 1, #COUNTERS do
        local name = COUNTERS[i]
        local units = by.units[name]
        if units then
            counters[name] = counters[name] + units * quantity
            changed[n + 1], changed[n + 2] = name, int.text(counters[name])
            n = n + 2
        end
    end
    counters.v = counters.v + 1
    local v = int.text(counters.v)
    changed[n + 1], changed[n + 2] = 'v', v
    if hold then
        changed[n + 3], changed[n + 4] = txn, hold
        n = n + 2
    end
    if counters.ask_moved then
        changed[n + 3], changed[n + 4] = 'ask', int.text(counters.ask)
        n = n + 2
        call('ZADD', key.asks(counters.p), changed[n + 2], counters.id)
    end
    call('HSET', counters.key, unpack(changed, 1, n + 2))
    call('XADD', key.moves(counters.p, counters.id), '*', 'm', by.kind .. '|' .. int.text(quantity) .. '|' .. txn .. '|' .. order_id .. '|' ..
        int.text(counters.on_hand) .. '|' .. int.text(counters.held) .. '|' .. int.text(counters.committed) .. '|' .. v .. '|' .. reason)
end

-- The counters of a product that is deleted go. Its marks stay: a late call must still meet them. So does, for ever, with which versions it ended
-- (${v}: the product's, as text) and when (ms, by TIME): one that is made under its id goes on behind them.
function stock.remove(counters, v, plain)
    call('HSET', counters.key, 'deleted', v .. '|' .. int.text(counters.v) .. '|' .. int.text(plain))
    call('HDEL', counters.key, 'on_hand', 'held', 'committed', 'v', 'ask', 'brief')
    call('ZREM', key.asks(counters.p), counters.id)
end

-- What a product that is not there has left, as numbers: the versions of it and of its stock, and when it was deleted. All are 0 where there are
-- marks alone: a release leaves one also of what never was.
function stock.former(p, id)
    local v, stock_v, deleted = match(call('HGET', key.stock(p, id), 'deleted') or '0|0|0', '^(%d+)|(%d+)|(%d+)$')
    return {v = tonumber(v), stock_v = tonumber(stock_v), deleted = tonumber(deleted)}
end
