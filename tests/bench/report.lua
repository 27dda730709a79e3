-- What a script's done() prints as the last line: wrk.py reads it. Every script begins with done = require("report").
local LINE = '{"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "bad_statuses": %d, '
  .. '"connect_errors": %d, "read_errors": %d, "write_errors": %d, "timeouts": %d}'

return function(summary, latency)
  local errors = summary.errors
  print(LINE:format(
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
    errors.connect, errors.read, errors.write, errors.timeout
  ))
end
