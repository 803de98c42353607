-- What the order's state asked for has been done by all its stock partitions: the duty is over, if the order has not moved on since.
--
-- KEYS[1]  order:{p}:ID
-- ARGV     p, id; state: paid, fulfilled, cancelled or expired (a reserved order's duty ends by expire alone)
-- answers  OK
-- writes   txn:{p}

local takes = arguments.of('duty_done', 'order', 'partition id paid|fulfilled|cancelled|expired')

local function duty_done(keys, args)
    local no = guard.enter(takes, keys, args)
    if no then return no end
    local p, id, state = args[1], args[2], args[3]

    if call('HGET', keys[1], 'state') == state then
        call('ZREM', key.order_duties(p), id)
    end
    return {code.OK}
end
