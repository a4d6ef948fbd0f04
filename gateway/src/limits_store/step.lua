-- One step over the limits of some keys, atomic and by this server's clock; see policy-host's limit_store.rs for what it must do.
--
-- ARGV: what to do ('take', 'peek', 'add', 'give-back'), then of each key six: kind ('b' bucket, 's' sliding window, 'f' fixed
-- window), limit, and for a bucket its room and the price (each: µs, parts of one; `limit` parts are one µs), for a window its
-- length in µs and the cost.
-- Answer: the time in µs, 1 if all was taken, and what each key had before ('' for nothing).
--
-- Numbers are doubles, exact up to 2^53 = 9.007e15. A time of today is 1.8e15 (2.69e15 in 2055), prices and debts are a century at
-- most (3.16e15): debt and price on top of it stay exact. Parts are below 1e9, counts at most 2e9; `product` says why it is exact.
-- Fractions never occur: math.fmod is exact, and only what it left over is divided.
local do_what = ARGV[1]
local longest, most = 3155760000000000, 2000000000
local latest = 9007199254740992 - longest
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- x < 2^31, y < 2^42, as high * 2^21 + low: each factor's product is under 2^52.
local function product(x, y)
  local low = x * math.fmod(y, 2097152)
  local carried = math.fmod(low, 2097152)
  return x * ((y - math.fmod(y, 2097152)) / 2097152) + (low - carried) / 2097152, carried
end

local function later(a, a_parts, b, b_parts)
  return a > b or (a == b and a_parts > b_parts)
end

local function read(text, rule)
  if #text > 64 then return nil end
  if rule.kind == 'b' then
    local whole, parts = string.match(text, '^b (%d+) (%d+)$')
    local state = {whole = tonumber(whole), parts = tonumber(parts)}
    if whole and state.whole <= latest and state.parts < rule.limit then return state end
  else
    local index, previous, current = string.match(text, '^w (%d+) (%d+) (%d+)$')
    local state = {index = tonumber(index), previous = tonumber(previous), current = tonumber(current)}
    if index and state.index <= latest and state.previous <= most and state.current <= most then return state end
  end
  return nil
end

-- Time that passed is put behind.
local function roll(state, rule)
  if rule.kind == 'b' then
    if state.whole < now then state.whole, state.parts = now, 0 end
    return
  end
  local index = (now - math.fmod(now, rule.per)) / rule.per
  if index <= state.index then return end
  local follows = rule.kind == 's' and index == state.index + 1
  state.previous = follows and state.current or 0
  state.index, state.current = index, 0
end

local function sum(whole, parts, more, more_parts, limit)
  whole, parts = whole + more, parts + more_parts
  if parts >= limit then return whole + 1, parts - limit end
  return whole, parts
end

local function fits(state, rule)
  if rule.kind == 'b' then
    local whole, parts = sum(state.whole, state.parts, rule.price, rule.price_parts, rule.limit)
    return not later(whole, parts, now + rule.room, rule.room_parts)
  end
  local left = rule.limit - state.current - rule.cost
  if left < 0 then return false end
  -- What the last window still counts, against what is left of this one; both times its length.
  local used, used_low = product(state.previous, rule.per - math.fmod(now, rule.per))
  local free, free_low = product(left, rule.per)
  return not later(used, used_low, free, free_low)
end

local function add(state, rule)
  if rule.kind == 'b' then
    state.whole, state.parts = sum(state.whole, state.parts, rule.price, rule.price_parts, rule.limit)
    if later(state.whole, state.parts, now + longest, 0) then state.whole, state.parts = now + longest, 0 end
  else
    state.current = math.min(state.current + rule.cost, most)
  end
end

local function give_back(state, rule)
  if rule.kind == 'b' then
    state.whole, state.parts = state.whole - rule.price, state.parts - rule.price_parts
    if state.parts < 0 then state.whole, state.parts = state.whole - 1, state.parts + rule.limit end
    if state.whole < now then state.whole, state.parts = now, 0 end
  else
    state.current = math.max(state.current - rule.cost, 0)
  end
end

-- Kept until it would decide as if there were nothing; then the server forgets it.
local function write(key, state, rule)
  local left, text
  if rule.kind == 'b' then
    left = state.whole + (state.parts > 0 and 1 or 0) - now
    text = string.format('b %.0f %.0f', state.whole, state.parts)
  else
    local windows = rule.kind == 's' and state.current > 0 and 2 or 1
    left = (state.index + windows) * rule.per - now
    if state.current == 0 and state.previous == 0 then left = 0 end
    text = string.format('w %.0f %.0f %.0f', state.index, state.previous, state.current)
  end
  if left <= 0 then
    redis.call('DEL', key)
  else
    -- One for the fraction of a millisecond that is left, one for that of the server's clock.
    redis.call('SET', key, text, 'PX', string.format('%.0f', (left - math.fmod(left, 1000)) / 1000 + 2))
  end
end

local rules, states, before = {}, {}, {}
for i, key in ipairs(KEYS) do
  local at = 6 * i - 4
  local n = function(offset) return tonumber(ARGV[at + offset]) end
  local rule = {kind = ARGV[at], limit = n(1)}
  if rule.kind == 'b' then
    rule.room, rule.room_parts, rule.price, rule.price_parts = n(2), n(3), n(4), n(5)
  else
    rule.per, rule.cost = n(2), n(3)
  end
  rules[i] = rule
  local text = redis.pcall('GETRANGE', key, 0, 64)
  local state
  if type(text) == 'string' then
    if text ~= '' then state = read(text, rule)
    elseif rule.kind == 'b' then state = {whole = 0, parts = 0}
    else state = {index = 0, previous = 0, current = 0} end
  elseif string.sub(text.err, 1, 9) ~= 'WRONGTYPE' and not string.find(text.err, 'WRONGTYPE', 1, true) then
    return text
  end
  if not state then return redis.error_reply('FOREIGN ' .. key) end
  before[i] = text
  if not states[key] then
    states[key] = state
    roll(state, rule)
  end
end

local taken = do_what ~= 'peek'
if taken then
  for i, key in ipairs(KEYS) do
    if do_what == 'take' and not fits(states[key], rules[i]) then
      taken = false
      break
    end
    local change = do_what == 'give-back' and give_back or add
    change(states[key], rules[i])
  end
end
if taken then
  for i, key in ipairs(KEYS) do write(key, states[key], rules[i]) end
end
local answer = {now, taken and 1 or 0}
for _, text in ipairs(before) do answer[#answer + 1] = text end
return answer
