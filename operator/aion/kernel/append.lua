-- Append events, and audit records that were not seen before, in one step.
--
-- One script because four things must agree: the number given, the stream entry that carries it and, for audit, the last
-- record of its journal and whether the chain holds. The stream id is `<seq>-0`, so that a reader's position is a number
-- that users can hold. What a break is, `chains.py` says; this is the same, and a test compares them.
--
-- KEYS: 1 counter (hash birth, last)  2 events stream  3 audit stream  4 audit ids (zset id -> seq)
--       [5 the journal: hash upto, head, tenant  [6 the newest chain of the journal's holder  7 chains (zset name -> ms)]]
-- ARGV: 1 events kept  2 audit records kept  3 journal memory in seconds  4 now in ms  5 the journal's name
--       6 tenant and 7 body of the event of a break, whose last brace is left out; empty where there is no chain
--       then nine per draft: topic, tenant, body, n, audit id, prev, digest, and the micro-USD and tokens that it used,
--       which are charged to its tenant's quota (`quotas.Quota.charge`)
-- Returns {last number given, last record number kept, how many were new, each break's name…}.
local counter, events, audit, ids, journal, holder, chains = unpack(KEYS)
local now, name = tonumber(ARGV[4]), ARGV[5]
local last = redis.call('HGET', counter, 'last')
if not last then
  -- Numbers start at the clock's milliseconds. A store that lost its memory so goes on above every number that it
  -- gave before (below 1000 events/s on average), and "strictly rising" survives it: readers see a gap, not a past.
  last = now
  redis.call('HSET', counter, 'birth', string.format('%.0f', last + 1), 'last', string.format('%.0f', last))
else
  last = tonumber(last)
end

local upto, head, forked = 0, '', false
if journal then
  local kept = redis.call('HMGET', journal, 'upto', 'head')
  upto, head = tonumber(kept[1] or '0'), kept[2] or ''
end
local fresh, breaks = 0, {}

local function append(topic, tenant, body, audit_id)
  last = last + 1
  local id = string.format('%.0f-0', last)
  redis.call('XADD', events, 'MAXLEN', '~', ARGV[1], id, 't', topic, 'o', tenant, 'b', body)
  if audit_id then
    redis.call('XADD', audit, 'MAXLEN', '~', ARGV[2], id, 't', topic, 'o', tenant, 'b', body)
    if audit_id ~= '' then
      redis.call('ZADD', ids, string.format('%.0f', last), audit_id)
    end
  end
end

local function broken(what, topic, n)
  breaks[#breaks + 1] = what
  append(topic, ARGV[6], string.format('%s,"what":"%s","n":%.0f,"after":%.0f}', ARGV[7], what, n, upto), '')
end

local function charge(tenant, usd, tokens)
  if usd == 0 and tokens == 0 then
    return
  end
  -- The tenant is the record's, so this key cannot be among KEYS: all of this lives in one Redis, not in a cluster of them.
  local quota = 'aion:quota:' .. tenant
  redis.call('HINCRBY', quota, string.format('u%.0f', math.floor(now / 60000)), string.format('%.0f', usd))
  redis.call('HINCRBY', quota, string.format('t%.0f', math.floor(now / 1000)), string.format('%.0f', tokens))
  redis.call('EXPIRE', quota, 7200)
  local lease = redis.call('HGET', quota .. ':leases', name)
  if lease then
    local held_usd, held_tokens, till = string.match(lease, '^(%d+) (%d+) (%d+)$')
    held_usd, held_tokens = math.max(0, tonumber(held_usd) - usd), math.max(0, tonumber(held_tokens) - tokens)
    redis.call('HSET', quota .. ':leases', name, string.format('%.0f %.0f %s', held_usd, held_tokens, till))
  end
end

for at = 8, #ARGV, 9 do
  local topic, tenant, body, n, audit_id = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3]), ARGV[at + 4]
  local prev, digest = ARGV[at + 5], ARGV[at + 6]
  if not journal then
    append(topic, tenant, body)
  elseif n > upto then
    if chains then
      if upto == 0 then
        local newest = redis.call('GET', holder)
        if newest and newest ~= name then
          broken('restarted', topic, n)
        end
      end
      if n > upto + 1 then
        broken(upto == 0 and 'beginning' or 'gap', topic, n)
      elseif prev ~= head then
        broken('changed', topic, n)
      end
    end
    append(topic, tenant, body, audit_id ~= '' and audit_id or nil)
    charge(tenant, tonumber(ARGV[at + 7]), tonumber(ARGV[at + 8]))
    upto, head, fresh = n, digest, fresh + 1
  elseif chains and not redis.call('ZSCORE', ids, audit_id) then
    -- Not sent again: another record by a number that is taken. It is kept, for what happened must not get lost.
    if not forked then
      broken('forked', topic, n)
      forked = true
    end
    append(topic, tenant, body, audit_id)
    charge(tenant, tonumber(ARGV[at + 7]), tonumber(ARGV[at + 8]))
    fresh = fresh + 1
  end
end

if fresh > 0 or #breaks > 0 then
  redis.call('HSET', counter, 'last', string.format('%.0f', last))
  if journal then
    redis.call('HSET', journal, 'upto', string.format('%.0f', upto), 'head', head, 'tenant', ARGV[6])
    redis.call('EXPIRE', journal, ARGV[3])
    redis.call('ZREMRANGEBYRANK', ids, 0, -1 - tonumber(ARGV[2]))
  end
  if chains then
    redis.call('SET', holder, name, 'EX', ARGV[3])
    redis.call('ZADD', chains, ARGV[4], name)
    redis.call('ZREMRANGEBYSCORE', chains, '-inf', '(' .. string.format('%.0f', now - 1000 * tonumber(ARGV[3])))
  end
elseif not journal then
  redis.call('HSET', counter, 'last', string.format('%.0f', last))
end
return { string.format('%.0f', last), string.format('%.0f', upto), fresh, unpack(breaks) }
