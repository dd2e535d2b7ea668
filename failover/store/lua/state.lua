-- failover/store/state.py: the steps over the state, and what a lease holds.
--
-- Lease ids are made by the caller, so every step may come twice, late, or in any order: an ``admit`` that comes again
-- gets the lease it has, and one that its own ``abandon`` has overtaken takes nothing (``ended`` remembers it).

local MOST_LAPSED = 10000
local MOST_AT_ONCE = 500 -- leases given up in one step; the rest by the next, so that no step takes long
local TOMBSTONE = 900 -- seconds a given-back id is remembered; no message is under way for longer

local steps = {}
local touched = {} -- names of lines in which there may be more room now

local function desk_line(target)
  return 'target ' .. target
end

local function money_line(book, scope)
  return 'budget ' .. scope .. ' (' .. book .. ')'
end

-- What changed a breaker's phase, for whoever wants to tell of it: old, new, cause; empty where nothing changed.
local function transition(before, desk)
  if desk.phase == before then
    return {}
  end
  return { before, desk.phase, desk.phase == CLOSED and '' or desk.cause }
end

-- ------------------------------------------------------------------- leases

local function held_of(lease)
  local written = redis.call('HGET', key('leases'), lease)
  return written and cmsgpack.unpack(written)
end

local function keep(lease, held)
  redis.call('HSET', key('leases'), lease, cmsgpack.pack(held))
end

-- Take a live lease out of the state; nil if it had been given back.
local function pop(lease)
  if redis.call('ZREM', key('expiries'), lease) == 0 then
    return nil
  end
  local held = held_of(lease)
  redis.call('HDEL', key('leases'), lease)
  return held
end

local function want_held(held)
  want(key('desk', held.target))
  want(key('log', held.target))
  for _, share in ipairs(held.shares) do
    want(page_key(share.book, share.page))
  end
end

local function bury(lease, now)
  redis.call('ZADD', key('ended'), exact(now.mono), lease)
  redis.call('ZREMRANGEBYSCORE', key('ended'), '-inf', exact(now.mono - TOMBSTONE))
end

local function charge(held, cost)
  for _, share in ipairs(held.shares) do
    budget.settle(share.book, share.page, share.scope, held.cost, cost)
  end
end

local function touch(held)
  touched[#touched + 1] = desk_line(held.target)
  for _, share in ipairs(held.shares) do
    touched[#touched + 1] = money_line(share.book, share.scope)
  end
end

local function give_up(lease, cost, now)
  local held = pop(lease)
  if held then
    local desk = desk_of(held.target)
    breaker.release(desk, lease)
    limiter.settle(desk, held.hold, nil, nil, now.mono)
    charge(held, cost)
    touch(held)
  end
  return held
end

-- --------------------------------------------------------------------- time

local function expired(now)
  return redis.call('ZRANGEBYSCORE', key('expiries'), '-inf', exact(now.mono), 'LIMIT', 0, MOST_AT_ONCE)
end

function steps.look_expired(now)
  for _, lease in ipairs(expired(now)) do
    want_held(held_of(lease))
  end
end

-- Give back what expired leases held, charge it, and remember them for a late correction.
function steps.expire(now)
  for _, lease in ipairs(expired(now)) do
    local held = held_of(lease)
    give_up(lease, held.cost, now)
    keep(lease, held)
    redis.call('ZADD', key('lapsed'), exact(now.mono), lease)
    local many = redis.call('ZCARD', key('lapsed')) - MOST_LAPSED
    if many > 0 then
      local oldest = redis.call('ZPOPMIN', key('lapsed'), many)
      for at = 1, #oldest, 2 do
        redis.call('HDEL', key('leases'), oldest[at])
      end
    end
  end
end

local function next_expiry()
  return number_or_nil(redis.call('ZRANGE', key('expiries'), 0, 0, 'WITHSCORES')[2])
end

-- ------------------------------------------------------------- switched off

local function switched_off(gates, now)
  local found = redis.call('HMGET', key('off'), gates.credential, gates.credential_model)
  for at = 1, 2 do
    if found[at] then
      local ends, detail = string.match(found[at], '^(%S*)\n(.*)$')
      ends = number_or_nil(ends)
      if not ends or now.wall < ends then
        return { reason = 'disabled', detail = detail, retry_at = ends and now.mono + ends - now.wall }
      end
    end
  end
  return nil
end

-- Of two findings about the same credential the one that lasts longer holds.
local function switch_off(gates, result, now)
  local ends = sooner(result.ends, gates.reenable_after and now.wall + gates.reenable_after)
  local name = result.disable == 'model' and gates.credential_model or gates.credential
  local old = redis.call('HGET', key('off'), name)
  local old_ends = old and number_or_nil(string.match(old, '^(%S*)\n'))
  if not old or not ends or (old_ends and old_ends < ends) then
    redis.call('HSET', key('off'), name, text(ends) .. '\n' .. result.detail)
  end
end

-- ---------------------------------------------------------------- admission

-- What one budget has against it.
local function short(ask, each, book, now)
  local refusal = budget.check(each, book.page, ask.cost)
  if refusal then
    refusal.line = money_line(each.book, each.scope)
    refusal.detail = each.title .. ': ' .. refusal.detail
    if not refusal.wait and ask.cost <= each.limit and book.ends then
      refusal.retry_at = now.mono + book.ends - now.wall
    end
  end
  return refusal
end

-- The first refusal that is final, else the first that can be waited for.
local function refused(ask, desk, books, now)
  local gates = ask.gates
  local refusal = switched_off(gates, now)
    or breaker.check(gates.breaker, desk, now.mono)
    or limiter.check(gates.limits, desk, ask.input_tokens, ask.output_tokens, ask.ahead, now.mono)
  if refusal then
    refusal.line = desk_line(gates.target)
    if not refusal.wait then
      return refusal
    end
  end
  for at, each in ipairs(ask.charges) do
    local money = short(ask, each, books[at], now)
    if money and not money.wait then
      return money
    end
    refusal = refusal or money
  end
  return refusal
end

-- The worst case, once on every account however many budgets watch it.
local function reserve(ask, books)
  local shares, done = {}, {}
  for at, each in ipairs(ask.charges) do
    local name = money_line(each.book, each.scope)
    if not done[name] then
      done[name] = true
      shares[#shares + 1] = { book = each.book, scope = each.scope, page = books[at].page }
      budget.reserve(each.book, books[at].page, each.scope, ask.cost)
    end
  end
  return shares
end

local function answer(held, expires, moved)
  local pages = {}
  for at, share in ipairs(held.shares) do
    pages[at] = share.page
  end
  return { 'lease', exact(expires), exact(held.generation), held.probe and '1' or '', moved, pages }
end

local function take(ask, desk, books, now)
  local expires, lease, before = now.mono + ask.ttl, ask.lease, desk.phase
  local probe = before ~= CLOSED
  if probe then
    breaker.take(desk, lease, now.mono + math.min(ask.patience, ask.ttl))
  end
  local held = {
    target = ask.gates.target, admitted = now.mono, generation = desk.generation, probe = probe, cost = ask.cost,
    hold = limiter.take(ask.gates.limits, desk, ask.input_tokens, ask.output_tokens),
    shares = reserve(ask, books),
  }
  keep(lease, held)
  redis.call('ZADD', key('expiries'), exact(expires), lease)
  if ask.counts then
    retry.deposit(now.mono)
  end
  return answer(held, expires, transition(before, desk))
end

local function turns(books, now)
  local first
  for _, book in ipairs(books) do
    first = sooner(first, book.ends)
  end
  return first and now.mono + first - now.wall
end

local function rejection(refusal, desks_own, books, now)
  local line, recheck
  if refusal.wait then
    line = refusal.line
    recheck = sooner(next_expiry(), line ~= desks_own and turns(books, now) or nil)
  end
  return {
    'no', refusal.reason, refusal.detail, text(refusal.retry_at), text(line), text(recheck), refusal.turn and '1' or '',
  }
end

function steps.admit(ask, now)
  local lease = ask.lease
  local expires = redis.call('ZSCORE', key('expiries'), lease)
  if expires then -- it came before, and its answer was lost
    return answer(held_of(lease), tonumber(expires), {})
  end
  if redis.call('ZSCORE', key('ended'), lease) then
    return { 'no', 'store_lost', 'it was given up before it arrived', '', '', '', '' }
  end
  local desk, books = desk_of(ask.gates.target), {}
  for at, each in ipairs(ask.charges) do
    books[at] = budget.turn(each.book, ask.books[each.book], now.wall)
  end
  local refusal = refused(ask, desk, books, now)
  if refusal then
    return rejection(refusal, desk_line(ask.gates.target), books, now)
  end
  return take(ask, desk, books, now)
end

-- ---------------------------------------------------------------------- end

function steps.first_content(call, now)
  local alive = redis.call('ZSCORE', key('expiries'), call.lease)
  local held = alive and held_of(call.lease)
  if not held then
    return {}
  end
  local desk = desk_of(held.target)
  local before = desk.phase
  limiter.answered(desk, held.hold, now.mono)
  keep(call.lease, held)
  if held.probe then
    local took = now.mono - held.admitted
    breaker.settle(call.gates.breaker, desk, call.lease, held.generation, true, took, now.mono, 0, call.random)
  end
  return transition(before, desk)
end

-- What the target said about itself.
local function hear(call, desk, held, now)
  local result, limits = call.result, call.gates.limits
  if result.pause then
    limiter.pause(desk, result.pause, now.mono)
  end
  if result.slow_down then
    limiter.slow_down(limits, desk, held.admitted, now.mono)
  end
  if result.hint then
    limiter.learn(limits, desk, result.hint, held.admitted, now.mono)
  end
  if result.disable then
    switch_off(call.gates, result, now)
  end
end

-- A call has ended after its lease: charge what it really cost.  nil if it had been settled before.
local function correct(lease, cost, now)
  if redis.call('ZREM', key('lapsed'), lease) == 0 then
    bury(lease, now)
    return nil
  end
  local held = held_of(lease)
  redis.call('HDEL', key('leases'), lease)
  if cost then
    for _, share in ipairs(held.shares) do
      budget.correct(share.book, share.page, share.scope, held.cost, cost)
    end
  end
  return held
end

local function verdict_of(result)
  if result.succeeded then
    return true
  elseif result.blamed then
    return false
  end
  return nil
end

function steps.settle(call, now)
  local result, lease = call.result, call.lease
  local held = pop(lease)
  if not held then
    held = correct(lease, result.cost, now)
    if held then
      hear(call, desk_of(held.target), held, now)
    end
    return {}
  end
  local desk, took = desk_of(held.target), result.latency or now.mono - held.admitted
  local before = desk.phase
  local not_before = result.pause and now.mono + result.pause or 0
  breaker.settle(call.gates.breaker, desk, lease, held.generation, verdict_of(result), took, now.mono, not_before,
    call.random)
  local moved = transition(before, desk)
  limiter.settle(desk, held.hold, result.input_tokens, result.output_tokens, now.mono)
  hear(call, desk, held, now)
  charge(held, result.cost or held.cost)
  touch(held)
  return moved
end

function steps.abandon(call, now)
  if give_up(call.lease, call.cost, now) then
    bury(call.lease, now)
  else
    correct(call.lease, call.cost, now)
  end
  return {}
end

-- Let it live longer, if it still lives.
function steps.renew(call, now)
  local expires = redis.call('ZSCORE', key('expiries'), call.lease)
  if expires and tonumber(expires) < now.mono + call.seconds then
    redis.call('ZADD', key('expiries'), exact(now.mono + call.seconds), call.lease)
  end
  return {}
end

function steps.allow_retry(call, now)
  return { retry.withdraw(call, now.mono) and '1' or '' }
end

function steps.enable(call)
  redis.call('HDEL', key('off'), call.gates.credential, call.gates.credential_model)
  local desk = desk_of(call.gates.target)
  local before = desk.phase
  breaker.reset(desk)
  touched[#touched + 1] = desk_line(call.gates.target)
  return transition(before, desk)
end

-- --------------------------------------------------------------- looking in

-- An open circuit whose time is over is shown as half-open.
local function target_state(gates, now)
  local desk, off = desk_of(gates.target), switched_off(gates, now)
  local counts = { exact(desk.failures), exact(desk.flying) }
  if off then
    return { 'disabled', text(off.retry_at), counts[1], counts[2], off.detail }
  end
  local due = desk.phase == OPEN and now.mono >= desk.reopens
  local phase = due and HALF_OPEN or desk.phase
  local reopens = phase == OPEN and desk.reopens or nil
  return { phase, text(reopens), counts[1], counts[2], phase == CLOSED and '' or desk.cause }
end

local function budget_state(each, books, now)
  local book = budget.turn(each.book, books[each.book], now.wall)
  local spent, reserved = account_of(each.book, book.page, each.scope)
  return { exact(spent), exact(reserved), text(book.ends) }
end

function steps.snapshot(call, now)
  local targets, budgets = {}, {}
  for at, gates in ipairs(call.gates) do
    targets[at] = target_state(gates, now)
  end
  for at, each in ipairs(call.charges) do
    budgets[at] = budget_state(each, call.books, now)
  end
  return { targets, budgets }
end

function steps.seed(call)
  for _, account in ipairs(call.accounts) do
    budget.seed(account)
  end
  return {}
end

-- --------------------------------------------------- what a step will touch

function steps.look(call)
  if call.lease then
    local held = held_of(call.lease)
    if held then
      want_held(held)
    end
  end
end
