-- Lend of a tenant's quota, in one step: forget what is old, see what is used, give what there is room for.
--
-- A script because two replicas lend of one account. It is `quotas.Quota.lend` in Redis, and a test compares them.
--
-- KEYS: 1 what was charged (hash `u<minute>` -> micro-USD, `t<second>` -> tokens)  2 leases (hash holder -> "usd tokens until_ms")
-- ARGV: 1 now in ms  2 holder  3 held micro-USD  4 held tokens  5 wanted micro-USD  6 wanted tokens
--       7 limit in micro-USD or -1  8 limit in tokens or -1  9 ms until the lease ends  10 the slice's divisor
--       11 ms to wait for what others hold
-- Returns {lent micro-USD, lent tokens, used micro-USD, used tokens, ms to wait}.
local now, holder = tonumber(ARGV[1]), ARGV[2]

local function sorted(kind, bucket_ms)
  -- Sixty buckets a span; one counts until its youngest use is a whole span old.
  local oldest = math.floor((now - 60 * bucket_ms) / bucket_ms)
  local found, total = {}, 0
  local all = redis.call('HGETALL', KEYS[1])
  for at = 1, #all, 2 do
    if string.sub(all[at], 1, 1) == kind then
      local bucket = tonumber(string.sub(all[at], 2))
      if bucket < oldest then
        redis.call('HDEL', KEYS[1], all[at])
      else
        found[#found + 1] = { bucket, tonumber(all[at + 1]) }
        total = total + tonumber(all[at + 1])
      end
    end
  end
  table.sort(found, function(one, other) return one[1] < other[1] end)
  return found, total
end

local others = { 0, 0 }
local leases = redis.call('HGETALL', KEYS[2])
for at = 1, #leases, 2 do
  local usd, tokens, till = string.match(leases[at + 1], '^(%d+) (%d+) (%d+)$')
  if tonumber(till) <= now then
    redis.call('HDEL', KEYS[2], leases[at])
  elseif leases[at] ~= holder then
    others[1], others[2] = others[1] + tonumber(usd), others[2] + tonumber(tokens)
  end
end

local lent, used, retry = {}, {}, 0
for at, kind in ipairs({ 'u', 't' }) do
  local bucket_ms = at == 1 and 60000 or 1000
  local held, want, limit = tonumber(ARGV[2 + at]), tonumber(ARGV[4 + at]), tonumber(ARGV[6 + at])
  local buckets, charged = sorted(kind, bucket_ms)
  used[at] = charged + others[at] + held
  if limit < 0 or want == 0 then
    lent[at] = want
  else
    local room = math.max(0, limit - used[at])
    lent[at] = math.min(want + math.floor(limit / tonumber(ARGV[10])), room)
    local missing = want - room
    if missing > 0 then
      local wait = 60 * bucket_ms
      if others[at] >= missing then
        wait = tonumber(ARGV[11])
      else
        local freed = 0
        for _, each in ipairs(buckets) do
          freed = freed + each[2]
          if freed >= missing then
            wait = math.max(1, (each[1] + 61) * bucket_ms - now)
            break
          end
        end
      end
      retry = math.max(retry, wait)
    end
  end
end

local holds = { tonumber(ARGV[3]) + lent[1], tonumber(ARGV[4]) + lent[2] }
if holds[1] + holds[2] > 0 then
  redis.call('HSET', KEYS[2], holder, string.format('%.0f %.0f %.0f', holds[1], holds[2], now + tonumber(ARGV[9])))
else
  redis.call('HDEL', KEYS[2], holder)
end
redis.call('EXPIRE', KEYS[1], 7200)
redis.call('EXPIRE', KEYS[2], 100000)
local answer = {}
for _, each in ipairs({ lent[1], lent[2], used[1], used[2], retry }) do
  answer[#answer + 1] = string.format('%.0f', each)
end
return answer
