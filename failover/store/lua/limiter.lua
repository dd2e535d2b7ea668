-- failover/rules/limiter.py; what is counted when, and why, is said there.
--
-- The log is a list of "time requests input output", oldest first; at most 513 entries.

local GRAINS, TOKENS_WINDOW, SLOW_RECOVERY = 512, 60, 300
local CHUNK = 64 -- entries read at a time when looking for a slot

local limiter = {}

-- ------------------------------------------------------------------ the log

local function entry(line)
  if not line then
    return nil
  end
  local time, requests, input, output = string.match(line, '(%S+) (%S+) (%S+) (%S+)')
  return {
    time = tonumber(time), requests = tonumber(requests), input = tonumber(input), output = tonumber(output),
  }
end

local function line_of(each)
  return string.format('%.17g %d %d %d', each.time, each.requests, each.input, each.output)
end

-- Nothing is logged that counts for nothing, so sums of zero mean an empty log.
local function logged(state)
  return state.requests > 0 or state.input > 0 or state.output > 0
end

local function add(state, requests, input, output)
  state.requests = state.requests + requests
  state.input = state.input + input
  state.output = state.output + output
end

function limiter.forget(state, window, now)
  while logged(state) do
    local oldest = entry(redis.call('LINDEX', state.log, 0))
    if not oldest then -- the list was lost (an eviction): what it held can no longer age
      state.requests, state.input, state.output = 0, 0, 0
      return
    end
    if oldest.time + window > now then
      return
    end
    redis.call('LPOP', state.log)
    add(state, -oldest.requests, -oldest.input, -oldest.output)
  end
end

local function log(state, window, now, requests, used, made)
  if requests == 0 and used == 0 and made == 0 then
    return
  end
  local grain = window / GRAINS
  local last = logged(state) and entry(redis.call('LINDEX', state.log, -1))
  if last and math.floor(now / grain) == math.floor(last.time / grain) then
    last.time, last.requests = now, last.requests + requests
    last.input, last.output = last.input + used, last.output + made
    redis.call('LSET', state.log, -1, line_of(last))
  else
    limiter.forget(state, window, now)
    redis.call('RPUSH', state.log, line_of({ time = now, requests = requests, input = used, output = made }))
  end
  add(state, requests, used, made)
end

-- ------------------------------------------------------------------- limits

local function slowed(state, now)
  if not state.slow_since or now >= state.slow_since + SLOW_RECOVERY then
    return nil
  end
  local grown = (now - state.slow_since) / SLOW_RECOVERY
  return math.max(1, state.slow_peak * (0.5 + 0.5 * grown))
end

local function oversized(limits, input, output)
  local asked = {
    { 'tokens', limits.tokens, input + output },
    { 'input tokens', limits.input_tokens, input },
    { 'output tokens', limits.output_tokens, output },
  }
  for at = 1, 3 do
    local name, limit, need = asked[at][1], asked[at][2], asked[at][3]
    if limit and need > limit then
      local detail = string.format('%d %s are more than the limit of %d in %g s; no waiting helps', need, name, limit,
        limits.window)
      return { reason = 'over_limit', detail = detail }
    end
  end
  return nil
end

-- Every limit that holds now.  A learned one is never too small for a single request.
local function demands(limits, state, input, output, now)
  local found = {}
  local slow = slowed(state, now)
  local requests = sooner(sooner(limits.requests, state.request_limit), slow and math.floor(slow))
  if requests then
    local used = state.requests + state.held_requests
    found[1] = { name = 'requests', limit = requests, need = 1, used = used, settled = true, weights = { 1, 0, 0 } }
  end
  local held = state.held_input + state.held_output
  local tokens = sooner(limits.tokens, state.token_limit)
  if tokens then
    local need, used = math.min(tokens, input + output), state.input + state.output + held
    found[#found + 1] =
      { name = 'tokens', limit = tokens, need = need, used = used, settled = held == 0, weights = { 0, 1, 1 } }
  end
  if limits.input_tokens then
    found[#found + 1] = {
      name = 'input tokens', limit = limits.input_tokens, need = input, used = state.input + state.held_input,
      settled = state.held_input == 0, weights = { 0, 1, 0 },
    }
  end
  if limits.output_tokens then
    found[#found + 1] = {
      name = 'output tokens', limit = limits.output_tokens, need = output, used = state.output + state.held_output,
      settled = state.held_output == 0, weights = { 0, 0, 1 },
    }
  end
  return found
end

-- When there will be room for all ``ahead`` and this one; nil: unknown.
local function slot(state, demand, ahead, window, now)
  local missing = demand.used + demand.need * (ahead + 1) - demand.limit - 1
  local rounds = math.floor(missing / demand.limit)
  missing = missing - rounds * demand.limit
  local freed, from = 0, 0
  while logged(state) do
    local lines = redis.call('LRANGE', state.log, from, from + CHUNK - 1)
    for _, line in ipairs(lines) do
      local each = entry(line)
      freed = freed + demand.weights[1] * each.requests + demand.weights[2] * each.input
        + demand.weights[3] * each.output
      if freed > missing then
        return each.time + window * (rounds + 1)
      end
    end
    if #lines < CHUNK then
      break
    end
    from = from + CHUNK
  end
  return demand.settled and now + window * (rounds + 1) or nil
end

-- What the provider said remains, while that holds: an amount short of ``need`` and the moment it ends.
local function short_of(state, tokens, now)
  local found = {}
  if state.requests_until and now < state.requests_until and state.requests_left < 1 then
    found[1] = { 'requests', state.requests_left, state.requests_until }
  end
  if state.tokens_until and now < state.tokens_until then
    local need = state.token_limit and math.min(tokens, state.token_limit) or tokens
    if state.tokens_left < need then
      found[#found + 1] = { 'tokens', state.tokens_left, state.tokens_until }
    end
  end
  return found
end

-- What leaves no room now, and the slot left when all before it have taken theirs.
local function room(limits, state, input, output, ahead, now)
  local full, latest = {}, nil
  local function later(moment)
    latest = (latest and moment) and math.max(latest, moment) or latest or moment
  end
  if now < state.paused then
    full[1] = string.format('the provider asked for %.1f s more of pause', state.paused - now)
    later(state.paused)
  end
  for _, demand in ipairs(demands(limits, state, input, output, now)) do
    if demand.used + demand.need > demand.limit then
      full[#full + 1] =
        string.format('%d of %d %s used in %g s', demand.used, demand.limit, demand.name, limits.window)
    end
    if demand.used + demand.need * (ahead + 1) > demand.limit then
      later(slot(state, demand, ahead, limits.window, now))
    end
  end
  for _, short in ipairs(short_of(state, input + output, now)) do
    full[#full + 1] = string.format('the provider says %d %s remain', math.max(0, short[2]), short[1])
    later(short[3])
  end
  return full, latest
end

-- ---------------------------------------------------------------- admission

local function windowed(limits)
  return limits.requests or limits.tokens or limits.input_tokens or limits.output_tokens
end

function limiter.check(limits, state, input, output, ahead, now)
  if not windowed(limits) and not limits.concurrency and ahead == 0 and state.learned == 0 and now >= state.paused then
    return nil
  end
  limiter.forget(state, limits.window, now)
  local refusal = oversized(limits, input, output)
  if refusal then
    return refusal
  end
  local full, latest = room(limits, state, input, output, ahead, now)
  if #full > 0 then
    return { reason = 'rate_limited', detail = table.concat(full, '; '), retry_at = latest, wait = true }
  end
  if limits.concurrency and state.flying >= limits.concurrency then
    local detail = string.format('%d of %d calls in flight', state.flying, limits.concurrency)
    return { reason = 'concurrency', detail = detail, wait = true }
  end
  if ahead == 0 then
    return nil
  end
  local reason = (not limits.concurrency or windowed(limits)) and 'rate_limited' or 'concurrency'
  local detail = string.format('%d in line before it', ahead)
  return { reason = reason, detail = detail, retry_at = latest, wait = true, turn = true }
end

function limiter.take(limits, state, input, output)
  state.flying = state.flying + 1
  state.held_requests = state.held_requests + 1
  state.held_input = state.held_input + input
  state.held_output = state.held_output + output
  if state.requests_left then
    state.requests_left = state.requests_left - 1
  end
  if state.tokens_left then
    state.tokens_left = state.tokens_left - input - output
  end
  return { input = input, output = output, window = limits.window, answered = false }
end

function limiter.answered(state, hold, now)
  if not hold.answered then
    hold.answered = true
    state.held_requests = state.held_requests - 1
    log(state, hold.window, now, 1, 0, 0)
  end
end

function limiter.settle(state, hold, input, output, now)
  local requests = hold.answered and 0 or 1
  state.flying = state.flying - 1
  state.held_requests = state.held_requests - requests
  state.held_input = state.held_input - hold.input
  state.held_output = state.held_output - hold.output
  log(state, hold.window, now, requests, input or hold.input, output or hold.output)
end

-- ----------------------------------------------------------------- learning

function limiter.pause(state, seconds, now)
  state.paused = math.max(state.paused, now + seconds)
end

function limiter.slow_down(limits, state, admitted, now)
  if state.slow_since and admitted <= state.slow_since then
    return
  end
  limiter.forget(state, limits.window, now)
  local rate = state.requests + state.held_requests
  state.slow_peak, state.slow_since = sooner(rate, slowed(state, now)), now
  state.learned = 1
end

-- What holds after a new word was heard; only what was sent after the old word can know more than it.
local function hear(state, kind, left, ends, now, admitted)
  local old_since = state[kind .. '_since']
  if not old_since or now >= state[kind .. '_until'] or admitted > old_since then
    state[kind .. '_left'], state[kind .. '_until'], state[kind .. '_since'] = left, ends, now
  else
    state[kind .. '_left'] = math.min(state[kind .. '_left'], left)
    state[kind .. '_until'] = math.max(state[kind .. '_until'], ends)
  end
end

function limiter.learn(limits, state, hint, admitted, now)
  state.learned = 1
  if (hint.limit_requests or 0) ~= 0 and hint.requests_window == limits.window then
    state.request_limit = hint.limit_requests
  end
  if (hint.limit_tokens or 0) ~= 0 and limits.window == TOKENS_WINDOW then
    state.token_limit = hint.limit_tokens
  end
  if hint.remaining_requests then
    local left = math.max(0, hint.remaining_requests - state.flying)
    hear(state, 'requests', left, now + (hint.reset_requests or hint.requests_window), now, admitted)
  end
  if hint.remaining_tokens then
    local left = math.max(0, hint.remaining_tokens - state.held_input - state.held_output)
    hear(state, 'tokens', left, now + (hint.reset_tokens or TOKENS_WINDOW), now, admitted)
  end
end
