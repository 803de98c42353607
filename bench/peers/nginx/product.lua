-- GET /products/{id} as nginx does it with Lua: the ready JSON and its version by HMGET from the shard that has it. The connections to Redis are pooled, one is
-- taken for each request. Answers as Souk does, with the headers of ${answer} (a list of pairs).

local product = {}

local redis = require 'nginx.redis'
local PARTITIONS = 256
local KEEP_MS, KEEP_COUNT = 60000, 512

-- ${shards}: a file with a partition and the port of its shard in each line.
function product.read_shards(shards)
    local ports = {}
    for partition, port in io.open(shards):read('*a'):gmatch('(%d+) (%d+)') do
        ports[tonumber(partition)] = tonumber(port)
    end
    return ports
end

local function read(ports, id)
    local partition = id % PARTITIONS
    local shard = redis:new()
    local good, why = shard:connect('127.0.0.1', ports[partition])
    if not good then
        return nil, why
    end
    local record
    record, why = shard:hmget('bench:{' .. partition .. '}:' .. id, 'v', 'json')
    if record then
        shard:set_keepalive(KEEP_MS, KEEP_COUNT)
    end
    return record, why
end

function product.answer(ports, answer)
    local record, why = read(ports, tonumber(ngx.var.uri:match('^/products/(%d+)$')))
    if not record then
        ngx.log(ngx.ERR, why)
        return ngx.exit(503)
    elseif record[1] == ngx.null then
        return ngx.exit(404)
    end
    for i = 1, #answer do
        ngx.header[answer[i][1]] = answer[i][2]
    end
    ngx.header['ETag'] = '"v' .. record[1] .. '"'
    ngx.header['Content-Length'] = #record[2]
    ngx.print(record[2])
end

return product
