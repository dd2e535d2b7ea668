-- The shared response cache: as failover/cache/memory.py keeps it, least recently used entries leave first and old ones
-- are never served.  ``cache``: hash of "digest identity" → "expires text"; ``cache_used``: the same names by last use.

local function entry_name(call, identity)
  return call.digest .. ' ' .. identity
end

local function forget_entry(name)
  redis.call('HDEL', key('cache'), name)
  redis.call('ZREM', key('cache_used'), name)
end

-- The first of these identities that is there and fresh.
function steps.cache_get(call, now)
  for _, identity in ipairs(call.identities) do
    local name = entry_name(call, identity)
    local found = redis.call('HGET', key('cache'), name)
    if found then
      local expires, answered = string.match(found, '^(%S+) (.*)$')
      if tonumber(expires) > now.mono then
        redis.call('ZADD', key('cache_used'), exact(now.mono), name)
        return { identity, answered }
      end
      forget_entry(name)
    end
  end
  return {}
end

function steps.cache_put(call, now)
  local name = entry_name(call, call.identity)
  redis.call('HSET', key('cache'), name, exact(now.mono + call.ttl) .. ' ' .. call.text)
  redis.call('ZADD', key('cache_used'), exact(now.mono), name)
  local many = redis.call('ZCARD', key('cache_used')) - call.size
  if many > 0 then
    local oldest = redis.call('ZPOPMIN', key('cache_used'), many)
    for at = 1, #oldest, 2 do
      redis.call('HDEL', key('cache'), oldest[at])
    end
  end
  return {}
end

-- Who is at an answer: ``claim:DIGEST`` holds the process's name, and goes by itself.

function steps.claim(call)
  local where = key('claim', call.digest)
  if redis.call('SET', where, call.owner, 'NX', 'PX', math.ceil(call.seconds * 1000)) then
    return { '1' }
  end
  return { redis.call('GET', where) == call.owner and '1' or '' }
end

function steps.release(call)
  if redis.call('GET', key('claim', call.digest)) == call.owner then
    redis.call('DEL', key('claim', call.digest))
  end
  return {}
end
