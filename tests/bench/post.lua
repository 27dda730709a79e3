-- POST one and the same body again and again. Arguments: its content type, a text, how many times that is repeated.
done = require("report")

function init(args)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = args[1]
  wrk.body = args[2]:rep(tonumber(args[3]))
end
