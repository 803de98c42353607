-- What the scripts print at the end, one fact a line for bench/run: requests answered, refused ones among them, time, latencies, socket errors. A script that
-- defines response() would make wrk build tables of every answer's headers; wrk's own count of statuses from 400 costs nothing.

local summary = {}

function summary.print(whole, latency)
    local errors = whole.errors
    io.write(string.format('requests=%d\nrefused=%d\nus=%d\np50=%d\np90=%d\np99=%d\np999=%d\nerrors=%d\n', whole.requests, errors.status, whole.duration,
        latency:percentile(50), latency:percentile(90), latency:percentile(99), latency:percentile(99.9),
        errors.connect + errors.read + errors.write + errors.timeout))
end

return summary
