-- Append events, and audit records that were not seen before, in one step.
--
-- One script because three things must agree: the number given, the stream entry that carries it and, for audit,
-- the last record number of its journal. The stream id is `<seq>-0`, so that a reader's position is a number that
-- users can hold.
--
-- KEYS: 1 counter (hash birth, last)  2 events stream  3 audit stream  4 audit ids (zset id -> seq)
--       [5 the journal's last record number]
-- ARGV: 1 events kept  2 audit records kept  3 journal memory in seconds  4 now in ms,
--       then five per draft: topic, tenant, body, n, audit id
-- Returns {last number given, last record number kept, how many were new}.
local counter, events, audit, ids, journal = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local last = redis.call('HGET', counter, 'last')
if not last then
  -- Numbers start at the clock's milliseconds. A store that lost its memory so goes on above every number that it
  -- gave before (below 1000 events/s on average), and "strictly rising" survives it: readers see a gap, not a past.
  last = tonumber(ARGV[4])
  redis.call('HSET', counter, 'birth', string.format('%.0f', last + 1), 'last', string.format('%.0f', last))
else
  last = tonumber(last)
end
local upto = 0
if journal then
  upto = tonumber(redis.call('GET', journal) or '0')
end
local fresh = 0
for at = 5, #ARGV, 5 do
  local topic, tenant, body, n, audit_id = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3]), ARGV[at + 4]
  if not journal or n > upto then
    last = last + 1
    fresh = fresh + 1
    local id = string.format('%.0f-0', last)
    redis.call('XADD', events, 'MAXLEN', '~', ARGV[1], id, 't', topic, 'o', tenant, 'b', body)
    if journal and audit_id ~= '' then
      redis.call('XADD', audit, 'MAXLEN', '~', ARGV[2], id, 't', topic, 'o', tenant, 'b', body)
      redis.call('ZADD', ids, string.format('%.0f', last), audit_id)
    end
    if journal then
      upto = n
    end
  end
end
if fresh > 0 then
  redis.call('HSET', counter, 'last', string.format('%.0f', last))
  if journal then
    redis.call('SET', journal, string.format('%.0f', upto), 'EX', ARGV[3])
    redis.call('ZREMRANGEBYRANK', ids, 0, -1 - tonumber(ARGV[2]))
  end
end
return { string.format('%.0f', last), string.format('%.0f', upto), fresh }
