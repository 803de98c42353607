-- wrk: POST /orders, each a new order of two lines whose products live on different shards: its own key, one of many buyers.
--   wrk -s order.lua URL -- FILE HOLD: FILE has one pair of product ids a line; HOLD in seconds

local summary_of = dofile((debug.getinfo(1, 'S').source:match('^@(.*/)') or './') .. 'summary.lua')

local threads = 0
function setup(thread)
    threads = threads + 1
    thread:set('number', threads)
    summary_of.add(thread)
end

function init(args)
    pairs_of_products, hold = {}, tonumber(args[2])
    for line in io.lines(args[1]) do
        local left, right = line:match('(%d+) (%d+)')
        pairs_of_products[#pairs_of_products + 1] = '","items":[{"product_id":' .. left .. ',"quantity":1},{"product_id":' .. right .. ',"quantity":1}],"hold_seconds":' .. hold .. '}'
    end
    run, count, statuses = os.time(), 0, {}
    math.randomseed(run * 16 + number)
    head = 'POST /orders HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nIdempotency-Key: ' .. number .. '-' .. run .. '-'
end

function request()
    count = count + 1
    local body = '{"user":"User ' .. math.random(100000) .. pairs_of_products[math.random(#pairs_of_products)]
    return head .. count .. '\r\nContent-Length: ' .. #body .. '\r\n\r\n' .. body
end

function response(status)
    statuses[status] = (statuses[status] or 0) + 1
end

done = summary_of.print
