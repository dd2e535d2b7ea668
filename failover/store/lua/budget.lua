-- failover/rules/budget.py: reserve the worst case before, settle the real cost after, never above the limit.
--
-- The calendar is the caller's: for each book it names the period of now and the next, with their bounds, and the
-- server's clock picks.  A page holds "spent SCOPE" and "reserved SCOPE" in nano-dollars, and "held": how many
-- reservations are open on it.  It has no time to live, so that a server that evicts keys with one never takes money;
-- should a server take the current page all the same, ``look`` notices.

local NANO = 1e9

local budget = {}
local current = {} -- book → { page, ends }, as far as this message has asked
local seen = {} -- figures of the accounts this message has changed, for the caller to remember

local function dollars(nano)
  local written = string.gsub(string.format('$%.9f', nano / NANO), '0+$', '')
  return (string.gsub(written, '%.$', ''))
end

local function page_key(book, page)
  return key('page', book .. ':' .. page)
end

local function account_of(book, page, scope)
  local found = redis.call('HMGET', page_key(book, page), 'spent ' .. scope, 'reserved ' .. scope)
  return tonumber(found[1] or 0), tonumber(found[2] or 0)
end

-- ``+ 0``: so that nothing is written as "-0", which is no integer to the server.
local function change(book, page, scope, spent, reserved)
  local where = page_key(book, page)
  local now_spent = redis.call('HINCRBY', where, 'spent ' .. scope, exact(spent + 0))
  local now_reserved = redis.call('HINCRBY', where, 'reserved ' .. scope, exact(reserved + 0))
  seen[#seen + 1] = { book, page, scope, exact(now_spent + now_reserved) }
end

local function drop_if_over(book, page)
  if page == current[book].page then
    return
  end
  if tonumber(redis.call('HGET', page_key(book, page), 'held') or 0) <= 0 then
    redis.call('DEL', page_key(book, page))
  end
end

local function kept(book)
  if not current[book] then
    local found = redis.call('HMGET', key('meta'), 'page ' .. book, 'ends ' .. book)
    current[book] = { page = found[1] or nil, ends = number_or_nil(found[2]) }
  end
  return current[book]
end

local function over(book, wall)
  return not book.page or (book.ends and wall >= book.ends)
end

local function fitting(candidates, wall)
  for _, each in ipairs(candidates) do
    if (not each.begins or each.begins <= wall) and (not each.ends or wall < each.ends) then
      return each
    end
  end
  return nil
end

-- A page that is gone (dropped, evicted, or lost with a server that forgot) stays gone.
local function exists(book, page)
  return redis.call('EXISTS', page_key(book, page)) == 1
end

local function open_page(name, page, ends)
  current[name] = { page = page, ends = ends }
  redis.call('HSET', key('meta'), 'page ' .. name, page, 'ends ' .. name, text(ends))
  redis.call('HSETNX', page_key(name, page), 'held', 0)
end

-- Before anything is changed: will a page have to be turned, and is the new one among those named ("clock" if not)?
-- Is the current one still there ("forgotten" if not)?
function budget.look(books, wall)
  for name, candidates in pairs(books) do
    local book = kept(name)
    local here = book.page and want(page_key(name, book.page))
    if over(book, wall) then
      local new = fitting(candidates, wall)
      if not new then
        return 'clock'
      end
      want(page_key(name, new.page))
    elseif here and not exists(name, book.page) then
      return 'forgotten'
    end
  end
  return nil
end

-- Go on to the page of ``wall``; returns it.  A settled old page is dropped.
function budget.turn(name, candidates, wall)
  local book = kept(name)
  if over(book, wall) then
    local new, old = fitting(candidates, wall), book.page
    open_page(name, new.page, new.ends)
    if old then
      drop_if_over(name, old)
    end
  elseif head.open then
    open_page(name, book.page, book.ends)
  end
  return current[name]
end

function budget.check(charge, page, cost)
  if cost == 0 then
    return nil
  end
  local spent, reserved = account_of(charge.book, page, charge.scope)
  if spent + cost > charge.limit then
    local detail = string.format('this call may cost up to %s, and %s of %s is spent', dollars(cost), dollars(spent),
      dollars(charge.limit))
    return { reason = 'budget_spent', detail = detail }
  end
  if spent + reserved + cost > charge.limit then
    local detail = string.format('%s of %s is spent, and %s is reserved for calls in flight', dollars(spent),
      dollars(charge.limit), dollars(reserved))
    return { reason = 'budget_pending', detail = detail, wait = true }
  end
  if charge.ahead > 0 then
    local detail = string.format('%d in line before it', charge.ahead)
    return { reason = 'budget_pending', detail = detail, wait = true, turn = true }
  end
  return nil
end

function budget.reserve(book, page, scope, cost)
  redis.call('HINCRBY', page_key(book, page), 'held', 1)
  change(book, page, scope, 0, cost)
end

function budget.settle(book, page, scope, reserved, cost)
  if exists(book, page) then
    change(book, page, scope, cost, -reserved)
    redis.call('HINCRBY', page_key(book, page), 'held', -1)
    kept(book)
    drop_if_over(book, page)
  end
end

function budget.correct(book, page, scope, charged, cost)
  if exists(book, page) then
    change(book, page, scope, cost - charged, 0)
  end
end

-- What a caller knows to have been spent or reserved before the server forgot it.
function budget.seed(account)
  local book = kept(account.book)
  if not book.page or book.page == account.page then
    open_page(account.book, account.page, account.ends)
  end
  local spent, reserved = account_of(account.book, account.page, account.scope)
  if spent + reserved < account.amount then
    change(account.book, account.page, account.scope, account.amount - spent - reserved, 0)
  end
end
