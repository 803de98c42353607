-- Integers below 2^53, which a Lua number holds exactly, and their text. Lua's own tostring and .. round above 14 digits, so neither is used.
-- %d goes through a long, exactly, and does not print floating point as %.0f does.

local byte, find, format = ('').byte, ('').find, ('').format

int.MAX = 9007199254740991

-- The number that ${text} is: 0 … 2^53-1 in digits alone, no sign, no leading zero. Anything else is nil. (tonumber alone takes "0x1p3" and " 7".)
function int.read(text)
    if #text > 16 or not find(text, '^%d+$') or (byte(text) == 48 and text ~= '0') then
        return nil
    end
    local number = tonumber(text)
    return number <= int.MAX and number or nil
end

-- The same with an optional minus in front of anything but 0.
function int.read_signed(text)
    if byte(text) ~= 45 then
        return int.read(text)
    end
    local number = int.read(text:sub(2))
    return number and number > 0 and -number or nil
end

-- %d is twice as fast as %.0f, but only as wide as C's long.
local FORMAT = format('%d', int.MAX) == '9007199254740991' and '%d' or '%.0f'

-- The text of an integer. Small ones, most quantities and versions, are made once.
local small = {}
for number = 0, 255 do
    small[number] = format(FORMAT, number)
end
function int.text(number)
    return number < 256 and small[number] or format(FORMAT, number)
end
