-- failover/rules/retry.py: retries and hedges stay below a share of the calls of the last ten seconds.

local WINDOW = 10

local retry = {}

local function sums(now)
  local where, calls, retries = key('retries'), 0, 0
  local flat = redis.call('HGETALL', where)
  for at = 1, #flat, 2 do
    local kind, second = string.match(flat[at], '(%a+) (%d+)')
    if tonumber(second) <= math.floor(now) - WINDOW then
      redis.call('HDEL', where, flat[at])
    elseif kind == 'calls' then
      calls = calls + tonumber(flat[at + 1])
    else
      retries = retries + tonumber(flat[at + 1])
    end
  end
  return calls, retries
end

function retry.deposit(now)
  local first = redis.call('HINCRBY', key('retries'), string.format('calls %d', math.floor(now)), 1) == 1
  if first then -- a new second: time to forget the old ones
    sums(now)
  end
end

function retry.withdraw(rules, now)
  local calls, retries = sums(now)
  if retries + 1 > rules.floor + rules.budget * calls then
    return false
  end
  redis.call('HINCRBY', key('retries'), string.format('retries %d', math.floor(now)), 1)
  return true
end
