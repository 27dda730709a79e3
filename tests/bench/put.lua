-- PUT one key after another through etcd's HTTP gateway. Arguments: a prefix for the keys, a value; both are base64.
done = require("report")

local head, prefix, rest
local written = 0

-- Digits are base64, too: a key is its prefix and a number of DIGITS, and needs no encoding.
local DIGITS = 12

function init(args)
  prefix = '{"key":"' .. args[1]
  rest = '","value":"' .. args[2] .. '"}'
  local length = #prefix + DIGITS + #rest
  wrk.headers["Content-Type"] = "application/json"
  -- Only the key differs between two requests: all that comes before it is made once.
  local whole = wrk.format("POST", "/v3/kv/put", wrk.headers, ("x"):rep(length))
  head = whole:sub(1, -length - 1) .. prefix
end

function request()
  written = written + 1
  return head .. ("%012d"):format(written) .. rest
end
