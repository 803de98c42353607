-- What is due on this shard, for the one worker that holds the lease. What is named becomes due again 5 s later, in case that worker dies.
--
-- KEYS[1]  souk:lease:KIND
-- ARGV     kind: order or payment; worker: its name; lease_ms; most: so many of each list; partitions: those of this shard, with commas
-- answers  OK granted now [id p …] [product p …]; granted 0: another worker holds the lease, both lists are empty
--          order: orders with a due duty, products whose look is due since 50 s; payment: payments with a due duty, and an empty list
-- writes   KEYS[1], txn:{p}, asks:{p}, txn:{p}:pay

local takes = arguments.of('sweep', 'lease', 'order|payment text lease positive partitions')

local DUE_AGAIN_MS = 5000

-- A sweep is patient with holds: most are paid or released before it asks, and a buyer who needs their units does not wait for it.
local LOOK_PATIENCE_MS = 50000

-- Finds up to ${most} members that were due ${patience} ago in the lists of these partitions. Returns them as member, partition, … and what is to
-- be written: one ZADD's arguments for each.
local function find_due(key_of, partitions, now, patience, most)
    local due, writes = {}, {}
    local until_text, again = int.text(now - patience), int.text(now - patience + DUE_AGAIN_MS)
    for p in partitions:gmatch('%d+') do
        local room = most - #due / 2
        if room <= 0 then
            break
        end
        local found = call('ZRANGEBYSCORE', key_of(p), '-inf', until_text, 'LIMIT', '0', int.text(room))
        for i = 1, #found do
            due[#due + 1] = found[i]
            due[#due + 1] = p
            writes[#writes + 1] = {key_of(p), again, found[i]}
        end
    end
    return due, writes
end

local function postpone(writes)
    for i = 1, #writes do
        call('ZADD', writes[i][1], writes[i][2], writes[i][3])
    end
end

local function sweep(keys, args)
    local no, now = guard.enter(takes, keys, args)
    if no then return no end
    local kind, worker, lease_ms, most, partitions = args[1], args[2], args[3], tonumber(args[4]), args[5]

    local holder = call('GET', keys[1])
    if holder and holder ~= worker then
        return {code.OK, 0, now, {}, {}}
    end
    local duties, duty_writes = find_due(kind == 'order' and key.order_duties or key.payment_duties, partitions, now, 0, most)
    local looks, look_writes = {}, {}
    if kind == 'order' then
        looks, look_writes = find_due(key.asks, partitions, now, LOOK_PATIENCE_MS, most)
    end

    call('SET', keys[1], worker, 'PX', lease_ms)
    postpone(duty_writes)
    postpone(look_writes)
    return {code.OK, 1, now, duties, looks}
end
