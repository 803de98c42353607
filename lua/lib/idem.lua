-- What an Idempotency-Key was decided to be. The record is written in the same call as the effect, so that there is never one without the other.
--
--   s         further fields      meaning
--   (none)                        nothing is known
--   aborted   a:FP                nothing is decided; attempts up to a:FP of the request with this fingerprint may no longer place
--   placed    fp id n             order id was placed by attempt n; no expiry, until prune gives it one
--   refused   fp status body      the order was refused with this answer to the client, for 24 h since that was told last (idem.told)
--   refused   fp answer request   another request was refused with this answer of the function; request is the id that its client was told
--   done      fp …                what the function's REPLAY gives
--   open      fp …                the effect has begun and is not yet known (a payment at its gateway, an import)

local KEPT_MS = '86400000'

-- Reads the record. Returns the decision and a list: fp, s, then the fields named. The decision is nil when nothing is decided,
-- 'reused' when what was decided belongs to another request.
function idem.read(record, fp, ...)
    local values = call('HMGET', record, 'fp', 's', ...)
    local decision = values[2]
    if not decision or decision == 'aborted' then
        return nil, values
    end
    if values[1] ~= fp then
        return 'reused', values
    end
    return decision, values
end

-- Writes a decision with its further fields (name, text, …), for 24 hours from now.
function idem.write(record, fp, decision, ...)
    call('HSET', record, 'fp', fp, 's', decision, ...)
    call('PEXPIRE', record, KEPT_MS)
end

-- The function refuses a request for a reason that may pass (not enough units, not paid yet), and its client is told so. From then on that is the
-- key's outcome: an earlier copy of the request may still be on its way, and must not do what was refused (DESIGN.md section 6). Returns what the
-- function answers: REFUSED, 0, the request's id, and behind them the refusal, its code first.
function idem.refuse(record, fp, request, refusal)
    local parts = {}
    for n = 1, #refusal do
        parts[n] = type(refusal[n]) == 'number' and int.text(refusal[n]) or refusal[n]
    end
    idem.write(record, fp, 'refused', 'answer', table.concat(parts, '|'), 'request', request)
    return {code.REFUSED, 0, request, unpack(refusal)}
end

-- What a repeat is answered: the same, but 1 for 0. Numbers of the refusal are texts now, which a worker reads alike. A record of a library that did
-- not keep the request's id has an empty one.
function idem.refusal(record)
    local kept = call('HMGET', record, 'answer', 'request')
    local answer = {code.REFUSED, 1, kept[2] or ''}
    for part in (kept[1] .. '|'):gmatch('([^|]*)|') do
        answer[#answer + 1] = part
    end
    return answer
end

-- ${decision} of the record is told again: whoever hears it may act on it a while later, and nobody must place an order under the same transaction's
-- name before that. So the 24 hours begin again; a placed one goes only if it was pruned, and not sooner than a mark.
function idem.told(record, decision)
    if decision == 'placed' then
        call('PEXPIRE', record, int.text(holds.MARK_KEPT_MS), 'GT')
    else
        call('PEXPIRE', record, KEPT_MS)
    end
end

-- For place and refuse: the answer if this key or this attempt is decided already, else nil. Also returns whether attempts were aborted
-- before, and so whether the record has an expiry.
function idem.placed_already(record, p, fp, attempt, now)
    if not call('HGET', record, 's') then
        return nil, false -- as almost every time
    end
    local decision, values = idem.read(record, fp, 'id', 'n', 'status', 'body', 'a:' .. fp)
    local order = decision == 'placed' and call('HMGET', key.order(p, values[3]), 'state', 'created')
    local aborted = not decision and values[7]
    if aborted and tonumber(aborted) < tonumber(attempt) then
        aborted = nil
    end
    if decision or aborted then
        idem.told(record, values[2])
    end
    if decision == 'reused' then
        return {code.KEY_REUSED}
    elseif decision == 'placed' then
        return {code.REPLAY, values[3], values[4], order[1], now - order[2]}
    elseif decision == 'refused' then
        return {code.REFUSED, values[5], values[6]}
    elseif aborted then
        return {code.ABORTED, aborted}
    end
    return nil, values[2] == 'aborted'
end

-- Decides that the key's request is order ${id}, placed by this attempt. An expiry left by an aborted attempt goes: no time decides about an order.
function idem.place(record, fp, id, attempt, has_expiry)
    call('HSET', record, 'fp', fp, 's', 'placed', 'id', id, 'n', attempt)
    if has_expiry then
        call('PERSIST', record)
    end
end

-- Records that no attempt up to this one may place any more.
function idem.abort(record, fp, attempt)
    call('HSET', record, 's', 'aborted', 'a:' .. fp, attempt)
    call('PEXPIRE', record, KEPT_MS)
end
