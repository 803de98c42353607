-- What the scripts print at the end, one fact a line for bench/run: answers by status, requests, time, latencies, socket errors.

local summary = {}
local threads = {}

function summary.add(thread)
    threads[#threads + 1] = thread
end

function summary.print(whole, latency)
    local sum = {}
    for _, thread in ipairs(threads) do
        for status, n in pairs(thread:get('statuses') or {}) do
            sum[status] = (sum[status] or 0) + n
        end
    end
    for status, n in pairs(sum) do
        io.write(string.format('status_%d=%d\n', status, n))
    end
    local errors = whole.errors
    io.write(string.format('requests=%d\nus=%d\np50=%d\np99=%d\nerrors=%d\n', whole.requests, whole.duration, latency:percentile(50), latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.timeout))
end

return summary
