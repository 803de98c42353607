-- wrk: POST /orders, each a new order of two lines whose products live on different shards: its own key, one of many buyers.
--   wrk -s order.lua URL -- FILE HOLD: FILE has one pair of product ids a line; HOLD in seconds

local summary_of = dofile((debug.getinfo(1, 'S').source:match('^@(.*/)') or './') .. 'summary.lua')

local threads = 0
function setup(thread)
    threads = threads + 1
    thread:set('number', threads)
end

-- Everything but the key is made beforehand: 4 096 orders of as many buyers, sent again and again with new keys.
function init(args)
    local products, hold = {}, tonumber(args[2])
    for line in io.lines(args[1]) do
        products[#products + 1] = line
    end
    local run = os.time()
    math.randomseed(run * 16 + number)
    head = 'POST /orders HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nIdempotency-Key: ' .. number .. '-' .. run .. '-'
    tails, count = {}, 0
    for n = 1, 4096 do
        local left, right = products[math.random(#products)]:match('(%d+) (%d+)')
        local body = string.format('{"user":"User %d","items":[{"product_id":%s,"quantity":1},{"product_id":%s,"quantity":1}],"hold_seconds":%d}',
            math.random(100000), left, right, hold)
        tails[n] = '\r\nContent-Length: ' .. #body .. '\r\n\r\n' .. body
    end
end

function request()
    count = count + 1
    return head .. count .. tails[count % 4096 + 1]
end

done = summary_of.print
