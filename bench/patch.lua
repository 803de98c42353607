-- wrk: PATCH of the prices of products, in turns, each time to another price.
--   wrk -s patch.lua URL -- COUNT [HEADER]: products 1 … COUNT

local summary_of = dofile((debug.getinfo(1, 'S').source:match('^@(.*/)') or './') .. 'summary.lua')

local PRICES = 8

function init(args)
    local header = args[2] and args[2] .. '\r\n' or ''
    requests, at = {}, 0
    for price = 1, PRICES do
        for id = 1, tonumber(args[1]) do
            local body = '{"price":' .. 10 + price .. '.99}'
            requests[#requests + 1] = 'PATCH /products/' .. id .. ' HTTP/1.1\r\nHost: bench\r\nIf-Match: *\r\nContent-Type: application/merge-patch+json\r\n' ..
                header .. 'Content-Length: ' .. #body .. '\r\n\r\n' .. body
        end
    end
end

function request()
    at = at % #requests + 1
    return requests[at]
end

done = summary_of.print
