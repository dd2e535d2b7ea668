-- Keys, numbers and records: how the state of the gates lies in Redis.
--
-- The files of this folder are joined into one script, in the order of PARTS in redis_link.py.  It runs one message: a
-- few operations, one after the other, in one atomic step.  They say in Lua what failover/rules and failover/store/state.py
-- say in Python, under the same names; the conformance tests hold the two to the same decisions.
--
--   meta      hash: schema, epoch, salt, the latest moment seen, each book's current page
--   desk:T    hash: breaker and limiter of the target T         log:T   list: what T was sent within the window
--   page:B:P  hash: the accounts of book B in its period P      off     hash: what is switched off, until when, why
--   leases    hash: what each lease holds                       retries hash: calls and retries by second
--   expiries, lapsed, ended   sorted sets of lease ids: alive by expiry, expired by when, given back by when
--
-- All keys of a namespace share one hash tag.  A script may only touch keys it was given, so that it runs in a
-- cluster; whoever needs another (a lease of somebody else has expired) asks for it with ``want`` before anything is
-- changed, and the caller sends the message again with that key.
--
-- Lua's numbers are doubles, exact for integers up to 2^53.  They are written with 17 digits, which lose nothing.

local head = cjson.decode(ARGV[1])
local prefix = string.match(KEYS[1], '^(.*)meta$')
local given, wanted = {}, {}
for _, name in ipairs(KEYS) do
  given[name] = true
end

local function key(kind, name)
  return prefix .. kind .. (name and ':' .. name or '')
end

-- Was this key given?  If not, it is asked for.
local function want(name)
  if not given[name] then
    wanted[#wanted + 1] = name
  end
  return given[name]
end

local function exact(number)
  return string.format('%.17g', number)
end

local function text(value)
  if value == nil then
    return ''
  end
  return type(value) == 'number' and exact(value) or tostring(value)
end

local function number_or_nil(written)
  return written and written ~= '' and tonumber(written) or nil
end

local function sooner(one, other)
  return (one and other) and math.min(one, other) or one or other
end

-- A desk: the fields of BreakerState and LimiterState, under their names but for ``reopens`` (``until`` is a word of
-- the language) and the allowances, whose three fields each have names of their own.  What is not here may be nil.
local DESK = {
  phase = 'closed', generation = 0, failures = 0, openings = 0, reopens = 0, successes = 0,
  probes = '', buckets = '', cause = '',
  requests = 0, input = 0, output = 0, flying = 0, held_requests = 0, held_input = 0, held_output = 0,
  paused = 0, learned = 0,
}
local WORDS = { phase = true, probes = true, buckets = true, cause = true }

-- Desks that this message has looked at, by target; written back once at its end, and only what has changed.
local desks = {}

local function desk_of(target)
  local desk = desks[target]
  if desk then
    return desk.now
  end
  local before, now = {}, {}
  for name, value in pairs(DESK) do
    before[name], now[name] = value, value
  end
  local flat = redis.call('HGETALL', key('desk', target))
  for at = 1, #flat, 2 do
    local name = flat[at]
    local value = WORDS[name] and flat[at + 1] or tonumber(flat[at + 1])
    before[name], now[name] = value, value
  end
  now.log = key('log', target)
  before.log = now.log
  desks[target] = { before = before, now = now }
  return now
end

local function save_desk(target, desk)
  local changed, gone = {}, {}
  for name, value in pairs(desk.now) do
    if desk.before[name] ~= value then
      changed[#changed + 1] = name
      changed[#changed + 1] = text(value)
    end
  end
  for name in pairs(desk.before) do
    if desk.now[name] == nil then
      gone[#gone + 1] = name
    end
  end
  if #changed > 0 then
    redis.call('HSET', key('desk', target), unpack(changed))
  end
  if #gone > 0 then
    redis.call('HDEL', key('desk', target), unpack(gone))
  end
end

local function save_desks()
  for target, desk in pairs(desks) do
    save_desk(target, desk)
  end
end

-- Small lists within a desk (probes, buckets) are packed into one field.
local function listed(packed)
  return packed == '' and {} or cmsgpack.unpack(packed)
end

local function packed(list)
  return #list == 0 and '' or cmsgpack.pack(list)
end

-- Refusals are tables with the fields of Refusal in failover/rules/refusal.py.
