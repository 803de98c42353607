-- wrk: POST /payments, one for each reserved order.
--   wrk -t1 -s pay.lua URL -- FILE: FILE has one order id a line, more than the run can use up

local summary_of = dofile((debug.getinfo(1, 'S').source:match('^@(.*/)') or './') .. 'summary.lua')

function init(args)
    requests, at = {}, 0
    for order in io.lines(args[1]) do
        local body = '{"order_id":' .. order .. ',"method":{"token":"tok_ok"}}'
        requests[#requests + 1] = 'POST /payments HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nIdempotency-Key: pay-' .. order ..
            '\r\nContent-Length: ' .. #body .. '\r\n\r\n' .. body
    end
end

-- Behind the last order comes a request that is refused, so that a file that was too short shows in the summary.
function request()
    at = at + 1
    return requests[at] or 'GET /no-more-orders HTTP/1.1\r\nHost: bench\r\n\r\n'
end

done = summary_of.print
