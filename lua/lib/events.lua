-- The feed: one entry per version of an order.

-- ${at}: the shard's time as text. An entry has the millisecond in which its version was made, by that clock, so that none can come to stand behind a
-- cursor that was told. Only where a clock that was wrong by hours has left entries that are ahead, the stream's own order goes before.
-- One field rather than eight: what Redis does with each argument of a write costs more than the joining. The request's id comes last, since it alone
-- is a client's text.
function events.add(p, at, id, payment, v, from, to, payment_status, cause, request)
    local stream = key.events(p)
    local entry = id .. '|' .. payment .. '|' .. v .. '|' .. from .. '|' .. to .. '|' .. payment_status .. '|' .. cause .. '|' .. request
    if type(redis.pcall('XADD', stream, at .. '-*', 'e', entry)) == 'table' then
        call('XADD', stream, '*', 'e', entry)
    end
end

-- The parts of an entry as a list, in the order of add's arguments.
function events.parse(text)
    return {text:match('^(%d+)|(%d*)|(%d+)|(%l*)|(%l+)|([%l_]+)|([%l_]+)|(.*)$')}
end
