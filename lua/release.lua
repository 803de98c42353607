-- The order ended or never was: its units go back. Where T is not known a mark is left, so that a late try meets it.
--
-- KEYS[1]  stock:{p}:ID
-- ARGV     p, id, T; age: as of confirm, not needed here, since a hold that is not the order's is to be released as well; order_id for the
--          ledger, may be empty
-- answers  OK phase: what T is now. A hold that ended stays as it is
-- state    held → released, committed → restocked, (none) → released
-- writes   KEYS[1], moves:{p}:ID, asks:{p}; for a product that is deleted KEYS[1] only

local takes = arguments.of('release', 'stock', 'partition id txn age id?')

local function leave_mark(stock_key, counters, txn, now)
    call('HSET', stock_key, txn, holds.text('released', '0', '0', now, now))
    if counters then
        stock.ask(counters, now + holds.MARK_KEPT_MS)
        stock.write_ask(counters)
    end
end

local function release(keys, args)
    local no, now = guard.enter(takes, keys, args)
    if no then return no end
    local txn = args[3]

    local hold, counters = holds.read(args[1], args[2], txn)
    if not hold then
        leave_mark(keys[1], counters, txn, now)
        return {code.OK, 'released'}
    elseif states.hold_live[hold.phase] then
        holds.move(hold, counters, holds.undone(hold), args[5], now)
    end
    return {code.OK, hold.phase}
end
