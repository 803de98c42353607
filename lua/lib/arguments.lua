-- What a function takes is said once, above it, and checked in whole before it starts:
--
--     local takes = arguments.of('settle', 'idem', 'partition fp positive')
--
-- the function's name, the kind of KEYS[1] and the kinds of ARGV. A kind with ? behind it may also be empty; `delta|set` is one of these words. A further
-- list is of what stands behind them as often as there is something to do, at least once: arguments.of('import', 'idem', 'partition fp', 'id? bytes count?').
-- Arguments come from Souk's own workers, so a wrong one is a fault in a worker: the answer is an error of fixed text, never the argument's own.

local byte, find = ('').byte, ('').find

local PARTITIONS_MAX = 16384

-- Checks run in every call, so they look at the text alone: no number is made, and no pattern runs where a length says it.

-- Like int.read, without the number: digits without a leading zero, below 2^53. Texts of 16 digits compare as their numbers do. Partitions, quantities
-- and times come again and again, so the first ones that were good are remembered.
local REMEMBERED_MAX = 4096
local remembered, remembered_count = {}, 0
local function is_positive(text)
    if remembered[text] then
        return true
    end
    local good = find(text, '^[1-9]%d*$') and (#text < 16 or (#text == 16 and text <= '9007199254740991'))
    if good and #text < 8 and remembered_count < REMEMBERED_MAX then
        remembered[text] = true
        remembered_count = remembered_count + 1
    end
    return good
end

local function is_count(text)
    return text == '0' or is_positive(text)
end

local kinds = {
    bytes = false, -- anything
    text = function(text) return text ~= '' end,
    count = is_count,
    count_or_any = function(text) return text == '*' or is_count(text) end,
    positive = is_positive,
    id = is_positive,
    signed = function(text) return is_count(text) or (byte(text) == 45 and is_positive(text:sub(2))) end,
    ms = function(text) return #text <= 12 and is_count(text) end, -- about 31 years; now + this stays far below 2^53
    age = function(text) return text == '-1' or is_count(text) end,
    partitions = function(text) return not find(text, '[^%d,]') end,
    currency = function(text) return find(text, '^%u%u%u$') end,
    fp = function(text) return #text == 16 and not find(text, '%X') end,
    hash = function(text) return #text == 32 and not find(text, '%X') end,
    -- A transaction's name, HASH.FP.attempt. What HASH and FP are is the business of whoever made it; here it is only a name.
    txn = function(text) return byte(text, 33) == 46 and byte(text, 50) == 46 and find(text, '^[1-9]%d*$', 51) end,
}

local partitions = {} -- those seen and found good: every call has one
function kinds.partition(text)
    if partitions[text] then
        return true
    elseif not is_count(text) or tonumber(text) >= PARTITIONS_MAX then
        return false
    end
    partitions[text] = true
    return true
end

-- How long a lease lasts: Redis does not take 0.
function kinds.lease(text)
    return text ~= '0' and kinds.ms(text)
end

local function one_of(words)
    local allowed = {}
    for word in words:gmatch('[^|]+') do
        allowed[word] = true
    end
    return function(text) return allowed[text] end
end

local function kind_of(name)
    local plain = name:match('^(.*)%?$')
    if plain then
        local check = kind_of(plain)
        return function(text) return text == '' or check(text) end
    end
    if name:find('|', 1, true) then
        return one_of(name)
    end
    return kinds[name]
end

local function kinds_of(list)
    local found = {count = 0}
    for kind in list:gmatch('%S+') do
        found.count = found.count + 1
        found[found.count] = kind_of(kind)
    end
    return found
end

function arguments.of(name, first_key, list, each)
    local takes = kinds_of(list)
    takes.name, takes.key = name, first_key
    takes.each = each and kinds_of(each)
    return takes
end

-- KEYS[1] must be the key of what the arguments name: a call that was sent to a wrong place changes nothing there.
local function key_is_right(kind, name, args)
    if kind == 'idem' then
        local p, hash = name:match('^idem:{(%d+)}:(%x+)$')
        return p == args[1] and #hash == 32
    end
    return name == key[kind](args[1], args[2])
end

-- The number of the first argument behind ${first} that is not of its kind, nil when all are.
local function first_bad(wanted, args, first)
    for n = 1, wanted.count do
        local check = wanted[n]
        if check ~= false and not check(args[first + n]) then
            return first + n
        end
    end
    return nil
end

local function first_bad_of_each(takes, args, ended)
    for first = takes.count, ended - 1, takes.each.count do
        local bad = first_bad(takes.each, args, first)
        if bad then
            return bad
        end
    end
    return nil
end

-- Returns an error reply if the call is not what ${takes} says, else nil. ${more} arguments stand behind those of the function.
function arguments.wrong(takes, keys, args, more)
    local count, each = #args - more, takes.each
    if each and (count <= takes.count or (count - takes.count) % each.count ~= 0) or not each and count ~= takes.count then
        return redis.error_reply('ERR souk: wrong number of arguments of ' .. takes.name)
    end
    local bad = first_bad(takes, args, 0) or each and first_bad_of_each(takes, args, count)
    if bad then
        return redis.error_reply('ERR souk: bad argument ' .. int.text(bad) .. ' of ' .. takes.name)
    end
    if takes.key and not (#keys == 1 and key_is_right(takes.key, keys[1], args)) then
        return redis.error_reply('ERR souk: bad key of ' .. takes.name)
    end
    return nil
end
