-- One message: ARGV is a head and then triples of a step, its call (JSON) and a text that may be large; the answers
-- come in the same order, as one JSON text, whose numbers are written as strings so that none loses a digit.
--
-- Two passes.  The first only looks: is this the state that the caller knows, were all keys given, is the period among
-- those named?  If not, it says so and nothing has happened.  The second does everything.
--
-- The moment is the server's own clock, which is one for all processes, and never runs backwards: a server that is set
-- back (or replaced by one whose clock is behind) stands still until it has caught up.  A call may carry another
-- moment (``at``), which is how tests drive time by hand.

local SCHEMA = '1'

local function said(...)
  return cjson.encode({ ... })
end

local meta = redis.call('HMGET', key('meta'), 'schema', 'epoch', 'mono', 'wall', 'salt')

if meta[1] and meta[1] ~= SCHEMA then
  return said('schema', meta[1])
end
if head.open then
  redis.call('HSET', key('meta'), 'schema', SCHEMA)
  redis.call('HSETNX', key('meta'), 'epoch', head.open.epoch)
  redis.call('HSETNX', key('meta'), 'salt', head.open.salt)
  meta = redis.call('HMGET', key('meta'), 'schema', 'epoch', 'mono', 'wall', 'salt')
elseif meta[2] ~= head.epoch then
  return said('epoch', meta[2] or '') -- emptied, restored, or another server
end

local time = redis.call('TIME')
local server = tonumber(time[1]) + tonumber(time[2]) / 1e6
local latest = { mono = tonumber(meta[3] or 0), wall = tonumber(meta[4] or 0) }

local function no_earlier(at)
  latest.mono = math.max(latest.mono, at and at[1] or server)
  latest.wall = math.max(latest.wall, at and at[2] or server)
  return { mono = latest.mono, wall = latest.wall }
end

local calls = {}
for at = 2, #ARGV, 3 do
  local call = cjson.decode(ARGV[at + 1])
  call.text = ARGV[at + 2]
  calls[#calls + 1] = { step = ARGV[at], call = call, now = no_earlier(call.at) }
end

local function look()
  local trouble
  steps.look_expired(latest)
  for _, each in ipairs(calls) do
    steps.look(each.call)
    trouble = trouble or budget.look(each.call.books or {}, each.now.wall)
  end
  return trouble
end

local trouble = look()
if trouble == 'clock' then
  return said('clock', exact(latest.wall))
end
if trouble == 'forgotten' and not head.open then -- a page of money was taken away: let everybody say what they know
  redis.call('HDEL', key('meta'), 'epoch')
  return said('epoch', '')
end
if #wanted > 0 then
  return said('keys', unpack(wanted))
end

local answers = {}
for at, each in ipairs(calls) do
  steps.expire(each.now)
  answers[at] = steps[each.step](each.call, each.now)
end
save_desks()
redis.call('HSET', key('meta'), 'mono', exact(latest.mono), 'wall', exact(latest.wall))

return said('done', exact(latest.mono), exact(latest.wall), meta[2], meta[5], touched, seen, answers)
