-- uses: plain
-- Looking at jobs. Changes nothing.
-- A job is what HMGET gives for the fields below, whether it is behind the head of its key, what else was asked for.
local VIEW = { 'seq', 'lane', 'state', 'key', 'priority', 'attempts', 'most', 'crashes', 'token', 'sent', 'due', 'expires',
  'started', 'ended', 'holder', 'cancel', 'reason', 'timeout', 'unique', 'progress' }

local function view_of(id)
  local fields = fields_at(id, unpack(VIEW))
  if not fields[1] then
    return nil
  end
  local held = fields[3] == 'ready' and fields[4] and call('HGET', K .. ':keys', fields[4]) ~= fields[1] .. id
  fields[#VIEW + 1] = held and 1 or 0
  return fields
end
