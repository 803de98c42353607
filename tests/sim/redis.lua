-- redis.* for the function library in lua_host.c. redis.call goes through LuaJIT's FFI: a call through Lua's C interface ends every trace of its compiler, one
-- through the FFI is part of it. What is run gets the address of lua_port_run and of its port (struct lua_port):
--
--   port.parts    from 1: what is called, texts by address and length, a number beside an address that is NULL
--   port.pieces   from 0: what was answered, its values one behind the other, a list before its items
--
-- The texts of an answer are copied at once, since the next command takes their place. What stands in parts as an address is held by the caller's frame.
local ffi = require('ffi')
ffi.cdef [[
struct lua_part { const char *at; size_t len; double number; };
struct lua_piece { int32_t type; uint32_t count; const char *at; double number; };
struct lua_port { struct lua_part parts[257]; struct lua_piece *pieces; };
]]
local run_address, port_address = ...
local run, port = ffi.cast('void (*)(void *, uint32_t)', run_address), ffi.cast('struct lua_port *', port_address)
local parts, text_at = port.parts, ffi.string
local type, error, select = type, error, select
local PARTS_MAX = 256

-- enum piece_type
local NIL, INTEGER, TEXT, STATUS, LIST, ERROR = 0, 1, 2, 3, 4, 5

-- ${each} for 1 … ${count}, with the number in the place of @. What is written out is one straight line to the compiler, where a loop would end its trace.
local function written_out(count, each, between)
    local written = {}
    for n = 1, count do
        written[n] = each:gsub('@', n)
    end
    return table.concat(written, between)
end
local WRITTEN_MAX = 48

-- ---- the answer ----

local take

local function take_list(at, count)
    local list = {}
    at = at + 1
    for n = 1, count do
        list[n], at = take(at)
    end
    return list, at
end

-- Returns the value whose first piece is ${at}, and the piece behind it.
function take(at)
    local piece = port.pieces[at]
    if piece.type == TEXT then
        return text_at(piece.at, piece.count), at + 1
    elseif piece.type == NIL then
        return false, at + 1
    elseif piece.type == INTEGER then
        return piece.number, at + 1
    elseif piece.type == STATUS then
        return {ok = text_at(piece.at, piece.count)}, at + 1
    end
    return take_list(at, piece.count)
end

-- Lists of texts and nils, which most are.
local lists = {[0] = function() return {} end}
for count = 1, WRITTEN_MAX do
    local items = written_out(count, 'pieces[@].type == 2 and text_at(pieces[@].at, pieces[@].count)', ', ')
    lists[count] = loadstring('local text_at = ... return function(pieces) return {' .. items .. '} end')(text_at)
end

-- ${number} of a list: 0 when all its items are texts and nils.
local function answer()
    local pieces = port.pieces
    local first = pieces[0]
    if first.type == LIST then
        local list = lists[first.count]
        if list and first.number == 0 then
            return list(pieces)
        end
        return (take_list(0, first.count))
    elseif first.type == ERROR then
        error(text_at(first.at, first.count), 3)
    end
    return (take(0))
end

-- ---- the call ----

local function put(n, value)
    local part = parts[n]
    if type(value) == 'string' then
        part.at, part.len = value, #value
    elseif type(value) == 'number' then
        part.at, part.number = nil, value
    else
        error('ERR Lua redis lib command arguments must be strings or integers', 4)
    end
end

local callers = {}
for count = 1, WRITTEN_MAX do
    local names = written_out(count, 'a@', ', ')
    local puts = written_out(count, 'if type(a@) == "string" then parts[@].at = a@ parts[@].len = #a@ else put(@, a@) end', ' ')
    local text = ('local parts, put, run, port, answer, type = ... return function(%s) %s run(port, %d) return answer() end'):format(names, puts, count)
    callers[count] = loadstring(text)(parts, put, run, port, answer, type)
end

local function call_many(...)
    local count = select('#', ...)
    if count == 0 or count > PARTS_MAX then
        error('ERR redis.call with ' .. count .. ' arguments', 3)
    end
    for n = 1, count do
        put(n, (select(n, ...)))
    end
    run(port, count)
    return answer()
end

function redis.call(...)
    return (callers[select('#', ...)] or call_many)(...)
end

function redis.pcall(...)
    local done, answer = pcall(redis.call, ...)
    return done and answer or {err = answer}
end

function redis.error_reply(text)
    return {err = text}
end
