-- wrk script: one request over and over, or the requests of a file in turn.
--
--   BENCH_METHOD                POST without it
--   BENCH_BODY, BENCH_HEADERS   the request; headers as "Name: value" lines
--   BENCH_REQUESTS              a file of requests instead: "Name: value" fields, then the body, parted by tabs
--   BENCH_ONCE                  set: each request of the file may be sent once only
--   BENCH_CHAIN                 a file of values that are used once, for "{}" in the body; each answer gives another
--   BENCH_MARK                  what a good answer contains: the body of a 200, or where a redirect goes
--   BENCH_FIND                  Lua pattern of what is kept of an answer, or chained; without it the access token
--   BENCH_KEEP                  a file for that
--   BENCH_PAUSE                 milliseconds between two requests of a connection
--
-- Anything but a good answer is an error, and the first one is kept to be shown. The last line printed is
-- "RESULT" and a JSON object.

local thread

function setup(t)
  assert(thread == nil, "counted for one wrk thread (-t1)")
  thread = t
end

local function headers_of(text, into)
  for name, value in text:gmatch("([^:\n]+): ([^\n]*)") do into[name] = value end
  return into
end

local file, once, mark, keep, find

local chain = { first = 1, last = 0 }

local function link(value)
  chain.last = chain.last + 1
  chain[chain.last] = value
end

local pause = tonumber(os.getenv("BENCH_PAUSE"))
if pause then -- wrk looks whether there is such a function
  function delay() return pause end
end

local function next_line()
  local text = file:read("*l")
  if text == nil then
    if once then ran_out = ran_out + 1 end
    file:seek("set")
    text = file:read("*l")
  end
  return text
end

local function from_file()
  local fields = {}
  for field in (next_line() .. "\t"):gmatch("([^\t]*)\t") do fields[#fields + 1] = field end
  local headers = {}
  for name, value in pairs(wrk.headers) do headers[name] = value end
  for i = 1, #fields - 1 do headers_of(fields[i], headers) end
  local body = fields[#fields]
  return wrk.format(nil, nil, headers, body ~= "" and body or nil)
end

local function from_chain()
  local value = chain[chain.first]
  if value == nil then -- as many are under way as there are
    ran_out = ran_out + 1
    value = ""
  else
    chain[chain.first] = nil
    chain.first = chain.first + 1
  end
  return wrk.format(nil, nil, nil, (wrk.body:gsub("{}", function() return value end)))
end

function init(_)
  wrk.method = os.getenv("BENCH_METHOD") or "POST"
  if wrk.method == "POST" then wrk.headers["Content-Type"] = "application/x-www-form-urlencoded" end
  headers_of(os.getenv("BENCH_HEADERS") or "", wrk.headers)
  wrk.body = os.getenv("BENCH_BODY")
  mark, once = os.getenv("BENCH_MARK"), os.getenv("BENCH_ONCE")
  find = os.getenv("BENCH_FIND") or '"access_token":"([^"]+)"'
  local requests, chained, kept = os.getenv("BENCH_REQUESTS"), os.getenv("BENCH_CHAIN"), os.getenv("BENCH_KEEP")
  if requests then file = assert(io.open(requests)) end
  if chained then for value in io.lines(chained) do link(value) end end
  if kept then keep = assert(io.open(kept, "a")) end
  answered, refused, first_refusal, ran_out = 0, 0, "", 0
  -- With neither, wrk makes its request once.
  if file then request = from_file elseif chained then request = from_chain end
end

function response(status, headers, body)
  local text = status == 200 and body
  if status == 302 or status == 303 then text = headers.location or headers.Location end
  if text and text:find(mark, 1, true) then
    answered = answered + 1
    if keep then keep:write(text:match(find), "\n") end
    if chain.last > 0 then link(text:match(find)) end
  else
    refused = refused + 1
    if refused == 1 then
      first_refusal = (status .. " " .. body:sub(1, 200)):gsub('[%c"\\]', "?")
    end
  end
end

function done(summary, latency, _)
  local e = summary.errors
  print(string.format(
    'RESULT {"answered": %d, "refused": %d, "first_refusal": "%s", "ran_out": %d, "socket_errors": %d, '
      .. '"seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "max_ms": %.3f}',
    thread:get("answered"), thread:get("refused"), thread:get("first_refusal"), thread:get("ran_out"),
    e.connect + e.read + e.write + e.timeout, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
