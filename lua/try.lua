-- Holds units of one product for one transaction.
--
-- KEYS[1]  stock:{p}:ID
-- ARGV     p, id, T, qty; order_p: the partition where T's order will be; ask_ms: how long until somebody may ask what became of T, up to 1 s less;
--          known_v: the version of the document that the caller has, 0: none
-- answers  OK available v doc: held; doc is empty when v = known_v
--          ALREADY v doc phase: T is held or committed here already
--          GONE phase: T ended here; ask its order's partition before doing anything (DESIGN.md section 7, fence 3)
--          SHORT available
--          ASK available: too few, but a hold's ask-after has passed: look, settle what it names, try again
--          NOT_FOUND
-- state    (none) → held
-- writes   KEYS[1], moves:{p}:ID; asks:{p} when nothing was to be asked sooner

local takes = arguments.of('try', 'stock', 'partition id txn positive partition ms count')

local HOLD = states.hold[''].held

-- Version and document, the document only if the caller has another one. (Two small questions cost less than one whose answer is a list.)
local function document(p, id, known_v)
    local product = key.product(p, id)
    local v = call('HGET', product, 'v')
    return v, v ~= known_v and call('HGET', product, 'doc') or ''
end

-- The answer when T is here already.
local function known(hold, p, id, known_v)
    local phase = holds.parse(hold)
    if not states.hold_live[phase] then
        return {code.GONE, phase}
    end
    local v, doc = document(p, id, known_v)
    return {code.ALREADY, v, doc, phase}
end

-- When a new hold may be asked about: in whole seconds, so that those of a product that sells out are asked about together, and not one by one while
-- its buyers wait. Never later than wanted, and less than a second sooner.
local function ask_time(now, ask_ms)
    local when = now + ask_ms
    return ask_ms < 2000 and when or when - when % 1000
end

local function try(keys, args)
    local no, now = guard.enter(takes, keys, args)
    if no then return no end
    local p, id, txn, quantity, order_p, known_v = args[1], args[2], args[3], tonumber(args[4]), args[5], args[7]

    local counters, values = stock.read_holds(p, id, txn)
    local hold = values[stock.HOLDS_BEHIND + 1]
    if hold then
        return known(hold, p, id, known_v)
    elseif not counters then
        return {code.NOT_FOUND}
    end
    local available = stock.available(counters)
    if available < quantity then
        local may_ask = counters.ask > 0 and counters.ask <= now
        return {may_ask and code.ASK or code.SHORT, available}
    end
    local v, doc = document(p, id, known_v)

    local when = ask_time(now, tonumber(args[6]))
    if when < now + holds.UNASKED_MS then
        stock.note_brief(counters, now)
    end
    stock.ask(counters, when)
    stock.change(counters, HOLD, quantity, txn, '', '', holds.text('held', args[4], order_p, when, now))
    return {code.OK, available - quantity, v, doc}
end
