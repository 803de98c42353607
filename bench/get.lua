-- wrk: GET of products, at random.
--   wrk -s get.lua URL -- COUNT: products 1 … COUNT

local summary_of = dofile((debug.getinfo(1, 'S').source:match('^@(.*/)') or './') .. 'summary.lua')

-- The requests are made once: what is measured is the server, not this script.
function init(args)
    requests, at = {}, 0
    for id = 1, tonumber(args[1]) do
        requests[id] = 'GET /products/' .. id .. ' HTTP/1.1\r\nHost: bench\r\n\r\n'
    end
end

function request()
    at = at % #requests + 1
    return requests[at]
end

done = summary_of.print
