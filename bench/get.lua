-- wrk: GET of many targets, in turns.
--   wrk -s get.lua URL -- COUNT TARGET [HEADER]: TARGET with 1 … COUNT in the place of %d

local summary_of = dofile((debug.getinfo(1, 'S').source:match('^@(.*/)') or './') .. 'summary.lua')

-- The requests are made once: what is measured is the server, not this script.
function init(args)
    local header = args[3] and args[3] .. '\r\n' or ''
    requests, at = {}, 0
    for id = 1, tonumber(args[1]) do
        requests[id] = 'GET ' .. args[2]:gsub('%%d', id) .. ' HTTP/1.1\r\nHost: bench\r\n' .. header .. '\r\n'
    end
end

function request()
    at = at % #requests + 1
    return requests[at]
end

done = summary_of.print
