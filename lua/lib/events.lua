-- The feed: one entry per version of an order.

-- One field rather than eight: what Redis does with each argument of a write costs more than the joining. The request's id comes last, since it alone
-- is a client's text.
function events.add(p, id, payment, v, from, to, payment_status, cause, request)
    call('XADD', key.events(p), '*', 'e',
        id .. '|' .. payment .. '|' .. v .. '|' .. from .. '|' .. to .. '|' .. payment_status .. '|' .. cause .. '|' .. request)
end

-- The parts of an entry as a list, in the order of add's arguments.
function events.parse(text)
    return {text:match('^(%d+)|(%d*)|(%d+)|(%l*)|(%l+)|([%l_]+)|([%l_]+)|(.*)$')}
end
