-- failover/rules/breaker.py; what a state means and why is said there.

local CLOSED, OPEN, HALF_OPEN = 'closed', 'open', 'half_open'
local BUCKETS, MOST_DOUBLINGS = 10, 64

local breaker = {}

function breaker.check(rules, state, now)
  if state.phase == CLOSED then
    return nil
  end
  if state.phase == OPEN then
    if now >= state.reopens then
      return nil
    end
    local detail = string.format('%s; next trial in %.1f s', state.cause, state.reopens - now)
    return { reason = 'circuit_open', detail = detail, retry_at = state.reopens }
  end
  local taken = state.successes
  for _, probe in ipairs(listed(state.probes)) do
    if probe.due > now then
      taken = taken + 1
    end
  end
  if taken < rules.probes then
    return nil
  end
  return { reason = 'circuit_open', detail = state.cause .. '; a trial call is under way' }
end

local function enter(state, phase)
  state.phase = phase
  state.generation = state.generation + 1
  state.failures, state.successes = 0, 0
  state.probes, state.buckets = '', ''
end

function breaker.take(state, lease, due)
  if state.phase == OPEN then
    enter(state, HALF_OPEN)
  end
  local probes = listed(state.probes)
  probes[#probes + 1] = { lease = lease, due = due }
  state.probes = packed(probes)
end

function breaker.release(state, lease)
  local left, found = {}, false
  for _, probe in ipairs(listed(state.probes)) do
    if probe.lease == lease then
      found = true
    else
      left[#left + 1] = probe
    end
  end
  if found then
    state.probes = packed(left)
  end
  return found
end

function breaker.reset(state)
  enter(state, CLOSED)
  state.openings = 0
end

-- ``random``: uniform in [0, 1), drawn by the caller, so that the script stays a function of what it is given.
local function open_time(rules, openings, random)
  local shortest = rules.recovery_timeout
  if openings == 0 then
    return shortest
  end
  local longest = math.max(shortest, rules.max_recovery_timeout)
  local delay = math.min(longest, shortest * 2 ^ math.min(openings, MOST_DOUBLINGS))
  return math.max(shortest, delay * (0.5 + 0.5 * random))
end

local function trip(rules, state, cause, now, not_before, random)
  enter(state, OPEN)
  state.cause = cause
  state.reopens = math.max(now + open_time(rules, state.openings, random), not_before)
  state.openings = state.openings + 1
end

-- A probe has ended: the cause to open again for, if any.
local function decide(rules, state, verdict, took)
  if verdict == nil then
    return nil
  end
  if not verdict then
    return 'a trial call failed'
  end
  if rules.slow_call_rate and took > rules.slow_call then
    return string.format('a trial call took %.1f s', took)
  end
  state.successes = state.successes + 1
  if state.successes >= rules.probes then
    breaker.reset(state)
  end
  return nil
end

local function record(rules, state, succeeded, slow, now)
  local number, kept = math.floor(now * BUCKETS / rules.window), {}
  for _, bucket in ipairs(listed(state.buckets)) do
    if bucket.number > number - BUCKETS then
      kept[#kept + 1] = bucket
    end
  end
  if #kept == 0 or kept[#kept].number ~= number then
    kept[#kept + 1] = { number = number, calls = 0, failures = 0, slow = 0 }
  end
  local bucket = kept[#kept]
  bucket.calls = bucket.calls + 1
  bucket.failures = bucket.failures + (succeeded and 0 or 1)
  bucket.slow = bucket.slow + (slow and 1 or 0)
  state.buckets = packed(kept)
  return kept
end

local function rates(rules, buckets)
  local calls, failed, slow = 0, 0, 0
  for _, bucket in ipairs(buckets) do
    calls, failed, slow = calls + bucket.calls, failed + bucket.failures, slow + bucket.slow
  end
  if calls < rules.minimum_calls then
    return nil
  end
  if rules.failure_rate and failed >= rules.failure_rate * calls then
    return string.format('%d of %d calls failed', failed, calls)
  end
  if rules.slow_call_rate and slow >= rules.slow_call_rate * calls then
    return string.format('%d of %d calls were slow', slow, calls)
  end
  return nil
end

-- A call has ended while closed: the cause to open for, if any.
local function count(rules, state, succeeded, took, now)
  state.failures = succeeded and 0 or state.failures + 1
  if state.failures >= rules.failure_threshold then
    return state.failures == 1 and 'a failure' or string.format('%d failures in a row', state.failures)
  end
  if not rules.failure_rate and not rules.slow_call_rate then
    return nil
  end
  return rates(rules, record(rules, state, succeeded, took > rules.slow_call, now))
end

function breaker.settle(rules, state, lease, generation, verdict, took, now, not_before, random)
  if generation ~= state.generation then
    return
  end
  local cause
  if state.phase == CLOSED then
    cause = verdict ~= nil and count(rules, state, verdict, took, now) or nil
  elseif breaker.release(state, lease) then
    cause = decide(rules, state, verdict, took)
  end
  if cause then
    trip(rules, state, cause, now, not_before, random)
  end
end
