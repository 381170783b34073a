-- wrk script: one client-credentials token request over and over (RFC 6749 §4.4).
-- An answer counts only when it is 200 and carries an access_token; anything else is an error,
-- and the first one is kept to be shown. The last line printed is "RESULT" and a JSON object.

local thread

function setup(t)
  assert(thread == nil, "counted for one wrk thread (-t1)")
  thread = t
end

function init(_)
  wrk.method = "POST"
  wrk.body = os.getenv("BENCH_BODY")
  wrk.headers["Authorization"] = os.getenv("BENCH_AUTHORIZATION")
  wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
  issued, refused, first_refusal = 0, 0, ""
end

function response(status, _, body)
  if status == 200 and body:find('"access_token"', 1, true) then
    issued = issued + 1
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
    'RESULT {"issued": %d, "refused": %d, "first_refusal": "%s", "socket_errors": %d, '
      .. '"seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "max_ms": %.3f}',
    thread:get("issued"), thread:get("refused"), thread:get("first_refusal"),
    e.connect + e.read + e.write + e.timeout, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
