-- uses: queue
-- Plain jobs: sent without key, unique key or expiry, ready at once, and nothing has come to them since but a grant and an ack.
-- Most jobs are. One has no hash of its own: it is a text in a hash of all of them, so that a command reads or writes
-- many. What else is to be done with one begins by giving it its hash (`unfold`).
--
-- K:plain  hash: by id, "r" or, since the grant, "g"; its token (before the grant the one before it) and its number, each
--          16 digits; sent, priority, most, timeout and lane, a space between; and since the grant a line feed, started, the
--          length of the lease id, this and the holder. Whether it is done, and since when, is told by K:done alone

-- Return what a plain job has, as fields and values of a job's hash.
local function plain_fields(id, text)
  local seq = string.sub(text, 18, 33)
  local fields, ended = { 'seq', seq }, call('ZSCORE', K .. ':done', seq .. id)
  local function add(name, value)
    fields[#fields + 1], fields[#fields + 2] = name, value
  end
  add('state', ended and 'done' or string.sub(text, 1, 1) == 'g' and 'running' or 'ready')
  if ended then add('ended', ended) end
  local sent, priority, most, timeout, lane, grant = string.match(text, '^(%d+) (%S*) (%S*) (%S*) ([^\n]*)(.*)$', 34)
  add('sent', sent)
  add('lane', lane)
  for name, value in pairs({ priority = priority, most = most, timeout = timeout }) do
    if value ~= '' and value ~= '0' then add(name, value) end
  end
  local token = tonumber(string.sub(text, 2, 17))
  if token > 0 then add('token', whole(token)) end
  if grant ~= '' then
    local started, length, rest = string.match(grant, '^\n(%d+) (%d+) (.*)$')
    add('attempts', 1)
    add('started', started)
    add('lease', string.sub(rest, 1, length))
    add('holder', string.sub(rest, length + 1))
  end
  return fields
end

-- Return the beginning of the text of a plain job, as far as its number.
local function plain_head(state, token)
  return state .. string.format('%016.0f', token)
end

-- Return what follows the number; nil for a lane that would not be found in it again.
local function plain_facts(sent, priority, most, timeout, lane)
  return not string.find(lane, '\n', 1, true) and table.concat({ sent, priority, most, timeout, lane }, ' ') or nil
end

-- Give a job its own hash if it is plain; return whether it was.
local function unfold(id)
  local text = call('HGET', K .. ':plain', id)
  if not text then
    return false
  end
  call('HSET', K .. ':job:' .. id, unpack(plain_fields(id, text)))
  call('HDEL', K .. ':plain', id)
  return true
end

-- Return fields of a job, the first of them one that every job has; changes nothing.
local function fields_at(id, ...)
  local found = call('HMGET', K .. ':job:' .. id, ...)
  local text = not found[1] and call('HGET', K .. ':plain', id)
  if text then
    local fields, has = plain_fields(id, text), {}
    for i = 1, #fields, 2 do has[fields[i]] = fields[i + 1] end
    for i, name in ipairs({ ... }) do found[i] = has[name] and tostring(has[name]) or false end
  end
  return found
end
