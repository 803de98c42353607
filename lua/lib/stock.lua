-- The counters of one product. They change in stock.change only, which writes the entry in the ledger with them.

-- Reads them as numbers, or nil when there is no such product.
function stock.read(p, id)
    local record = key.stock(p, id)
    local values = call('HMGET', record, 'on_hand', 'held', 'committed', 'v', 'ask')
    if not values[1] then
        return nil
    end
    return {
        key = record, p = p, id = id,
        on_hand = tonumber(values[1]), held = tonumber(values[2]), committed = tonumber(values[3]), v = tonumber(values[4]),
        ask = tonumber(values[5] or 0),
    }
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

-- Sets the time of the next look, 0 for none, in the record and in the partition's list.
function stock.set_ask(counters, due)
    local text = int.text(due)
    call('HSET', counters.key, 'ask', text)
    if due == 0 then
        call('ZREM', key.asks(counters.p), counters.id)
    else
        call('ZADD', key.asks(counters.p), text, counters.id)
    end
end

function stock.write_ask(counters)
    if counters.ask_moved then
        stock.set_ask(counters, counters.ask)
    end
end

-- Adds to the counters and writes one entry in the ledger. ${by}: how each unit moves them and the entry's kind (states.hold). The caller has made
-- sure that nothing falls below 0. ${...}: further fields of the entry.
function stock.change(counters, by, quantity, txn, order_id, ...)
    counters.on_hand = counters.on_hand + by.on_hand * quantity
    counters.held = counters.held + by.held * quantity
    counters.committed = counters.committed + by.committed * quantity
    counters.v = counters.v + 1

    local on_hand, held, committed = int.text(counters.on_hand), int.text(counters.held), int.text(counters.committed)
    local v = int.text(counters.v)
    if counters.ask_moved then
        local ask = int.text(counters.ask)
        call('HSET', counters.key, 'on_hand', on_hand, 'held', held, 'committed', committed, 'v', v, 'ask', ask)
        call('ZADD', key.asks(counters.p), ask, counters.id)
    else
        call('HSET', counters.key, 'on_hand', on_hand, 'held', held, 'committed', committed, 'v', v)
    end
    call('XADD', key.moves(counters.p, counters.id), '*', 'kind', by.kind, 'qty', int.text(quantity), 'txn', txn, 'order', order_id,
        'on_hand', on_hand, 'held', held, 'committed', committed, 'v', v, ...)
end
