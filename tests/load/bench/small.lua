-- wrk: GET of one URL, or PUTs of `size` bytes under names that no other request has.
local counter = 0
local url_path, method, size, names
local fields = {}

function init(args)
  method, size, names = args[1], tonumber(args[2]), args[3]
  for index = 4, #args do
    local name, value = args[index]:match("^([^:]+): (.*)$")
    fields[name] = value
  end
  url_path = wrk.path
  if method == "PUT" then
    wrk.body = string.rep("x", size)
    fields["Content-Type"] = "application/octet-stream"
  end
end

function request()
  if method == "GET" then
    return wrk.format("GET", url_path, fields)
  end
  counter = counter + 1
  return wrk.format("PUT", url_path .. names .. counter, fields)
end

function response(status)
  if status < 200 or status > 299 then wrong = (wrong or 0) + 1 end
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d\n", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout))
end
