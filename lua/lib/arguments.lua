-- What a function takes is said once, above it, and checked in whole before it starts:
--
--     local takes = arguments.of('refuse', 'idem', 'partition fp positive positive bytes')
--
-- the function's name, the kind of KEYS[1] and the kinds of ARGV. A kind with ? behind it may also be empty; `delta|set` is one of these words. A
-- further list is of what stands behind them as often as there is something to do, at least once: arguments.of('import', 'idem', 'partition fp', 'id?
-- bytes count?'). If there is nothing but that, KEYS has one key for each. Arguments come from Souk's own workers, so a wrong one is a fault in a
-- worker: the answer is an error of fixed text, never the argument's own.

local byte, find, sub = ('').byte, ('').find, ('').sub

local PARTITIONS_MAX = 16384

-- Checks run in every call, so they look at the text alone: no number is made, and no pattern runs where a length says it.

-- Like int.read, without the number: digits without a leading zero, below 2^53. Texts of 16 digits compare as their numbers do.
local function is_positive(text)
    return find(text, '^[1-9]%d*$') and (#text < 16 or (#text == 16 and text <= '9007199254740991'))
end

local function is_count(text)
    return text == '0' or is_positive(text)
end

local function is_ms(text)
    return #text <= 12 and is_count(text) -- about 31 years; now + this stays far below 2^53
end

-- Partitions, products, quantities and times come again and again, so their kinds remember the first texts that were good: a look into a table
-- instead of a check. The bounds are of memory; a partition's number always fits.
local REMEMBERED_MAX, REMEMBERED_BYTES = PARTITIONS_MAX, 7

-- A kind: `known`, the texts found good before, and `check`, which decides about any other.
local function remembering(check)
    local known, count = {}, 0
    return {known = known, check = function(text)
        local good = check(text)
        if good and #text <= REMEMBERED_BYTES and count < REMEMBERED_MAX then
            known[text] = true
            count = count + 1
        end
        return good
    end}
end

-- The same for what differs in every call.
local NOTHING = {}
local function checking(check)
    return {known = NOTHING, check = check}
end

local kinds = {
    bytes = {}, -- anything: there is nothing to check
    text = checking(function(text) return text ~= '' end),
    count = remembering(is_count),
    count_or_any = remembering(function(text) return text == '*' or is_count(text) end),
    positive = remembering(is_positive),
    id = remembering(is_positive),
    signed = remembering(function(text) return is_count(text) or (byte(text) == 45 and is_positive(sub(text, 2))) end),
    ms = remembering(is_ms),
    lease = remembering(function(text) return text ~= '0' and is_ms(text) end), -- Redis does not take 0
    age = remembering(function(text) return text == '-1' or is_count(text) end),
    partition = remembering(function(text) return is_count(text) and tonumber(text) < PARTITIONS_MAX end),
    partitions = checking(function(text) return not find(text, '[^%d,]') end),
    currency = remembering(function(text) return find(text, '^%u%u%u$') end),
    fp = checking(function(text) return #text == 16 and not find(text, '%X') end),
    hash = checking(function(text) return #text == 32 and not find(text, '%X') end),
    -- A transaction's name, HASH.FP.attempt. What HASH and FP are is the business of whoever made it; here it is only a name.
    txn = checking(function(text) return byte(text, 33) == 46 and byte(text, 50) == 46 and find(text, '^[1-9]%d*$', 51) end),
}

local function one_of(words)
    local allowed = {}
    for word in words:gmatch('[^|]+') do
        allowed[word] = true
    end
    return {known = allowed, check = function() return false end}
end

local function kind_of(name)
    local plain = name:match('^(.*)%?$')
    if plain then
        local kind = kind_of(plain)
        return {known = kind.known, check = kind.check and function(text) return text == '' or kind.check(text) end}
    end
    return name:find('|', 1, true) and one_of(name) or kinds[name]
end

-- The list as three: the places of those to check, and for each what is known and the check. count: of all of them.
local function kinds_of(list)
    local found = {count = 0, places = {}, known = {}, check = {}}
    for name in list:gmatch('%S+') do
        local kind, at = kind_of(name), #found.places + 1
        found.count = found.count + 1
        if kind.check then
            found.places[at], found.known[at], found.check[at] = found.count, kind.known, kind.check
        end
    end
    return found
end

function arguments.of(name, first_key, list, each)
    local takes = kinds_of(list)
    takes.name, takes.key = name, first_key
    takes.each = each and kinds_of(each)
    return takes
end

-- A key must be that of what the arguments behind ${first} name: a call that was sent to a wrong place changes nothing there.
local function key_is_right(kind, name, args, first)
    if kind == 'idem' then
        local prefix = key.idem(args[first + 1], '')
        return #name == #prefix + 32 and sub(name, 1, #prefix) == prefix and not find(name, '%X', #prefix + 1)
    end
    return name == key[kind](args[first + 1], args[first + 2])
end

-- ${count}: of the function's own arguments.
local function keys_are_right(takes, keys, args, count)
    if takes.count > 0 then
        return #keys == 1 and key_is_right(takes.key, keys[1], args, 0)
    end
    local each = takes.each.count
    if #keys * each ~= count then
        return false
    end
    for n = 1, #keys do
        if not key_is_right(takes.key, keys[n], args, (n - 1) * each) then
            return false
        end
    end
    return true
end

-- The number of the first argument behind ${first} that is not of its kind, nil when all are.
local function first_bad(wanted, args, first)
    local places, known, check = wanted.places, wanted.known, wanted.check
    for n = 1, #places do
        local text = args[first + places[n]]
        if not known[n][text] and not check[n](text) then
            return first + places[n]
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
    if takes.key and not keys_are_right(takes, keys, args, count) then
        return redis.error_reply('ERR souk: bad key of ' .. takes.name)
    end
    return nil
end
