-- What became of the transactions HASH.fp.attempt? The question itself aborts those of which nothing was decided (DESIGN.md section 7, fence 2).
--
-- KEYS[1]  idem:{p}:HASH, and one more for each further transaction
-- ARGV     [p fp attempt]…
-- answers  OK [verdict ms decided id n]…
--          verdict: reserved (ms until it expires), paid, fulfilled, cancelled, expired (ms: its age), or aborted (ms: the highest aborted attempt
--          of this fingerprint, but for later ones in the same call); lost: it was placed, and the order is not there
--          decided: what the key is decided as: placed (then as order id, by attempt n), refused, or empty: nothing yet
-- writes   KEYS[1] and the others; when it was decided, how long the record is kept

local takes = arguments.of('settle', 'idem', '', 'partition fp positive')

-- Of one transaction: what is answered. Notes in ${aborts} what is still to be written, in ${told} whose decision is told and may go by time.
local function ask(record, p, fp, attempt, now, aborts, told)
    local values = call('HMGET', record, 'fp', 's', 'id', 'n', 'a:' .. fp)
    local decision, id, n = values[2], values[3], values[4]
    if decision == 'placed' and values[1] == fp and n == attempt then
        local state, ms = orders.standing(p, id, now)
        if states.order_ended[state] then
            told[#told + 1] = {record, decision}
        end
        return state, ms, 'placed', id, attempt
    end
    local aborted = math.max(tonumber(values[5] or 0), tonumber(attempt))
    if decision and decision ~= 'aborted' then
        told[#told + 1] = {record, decision}
        return 'aborted', aborted, decision, id or '', n or ''
    end
    local name = record .. fp -- two attempts of one request may be asked about at once
    aborts.highest[name] = math.max(aborts.highest[name] or 0, aborted)
    aborts[#aborts + 1] = {name = name, record = record, fp = fp}
    return 'aborted', aborted, '', '', ''
end

local function settle(keys, args)
    local no, now = guard.enter(takes, keys, args)
    if no then return no end

    local answer, aborts, told = {code.OK}, {highest = {}}, {}
    for n = 1, #keys do
        local at, p, fp, attempt = n * 5 - 3, unpack(args, n * 3 - 2, n * 3)
        answer[at], answer[at + 1], answer[at + 2], answer[at + 3], answer[at + 4] = ask(keys[n], p, fp, attempt, now, aborts, told)
    end
    for n = 1, #aborts do
        idem.abort(aborts[n].record, aborts[n].fp, int.text(aborts.highest[aborts[n].name]))
    end
    for n = 1, #told do
        idem.told(told[n][1], told[n][2])
    end
    return answer
end
