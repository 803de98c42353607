-- wrk: POST /payments, one for each reserved order.
--   wrk -t1 -s pay.lua URL -- FILE: FILE has one order id a line; when they are used up, the run goes on with GET /livez, which the summary does not count

local summary_of = dofile((debug.getinfo(1, 'S').source:match('^@(.*/)') or './') .. 'summary.lua')

function setup(thread)
    summary_of.add(thread)
end

function init(args)
    orders, next_order, statuses = {}, 0, {}
    for line in io.lines(args[1]) do
        orders[#orders + 1] = line
    end
end

function request()
    next_order = next_order + 1
    local order = orders[next_order]
    if not order then
        return 'GET /livez HTTP/1.1\r\nHost: bench\r\n\r\n'
    end
    local body = '{"order_id":' .. order .. ',"method":{"token":"tok_ok"}}'
    return 'POST /payments HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nIdempotency-Key: pay-' .. order .. '\r\nContent-Length: ' .. #body .. '\r\n\r\n' .. body
end

function response(status)
    statuses[status] = (statuses[status] or 0) + 1
end

done = summary_of.print
