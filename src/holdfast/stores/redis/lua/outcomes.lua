-- uses: plain
-- How jobs have ended.
--
-- ARGV[2…]  ids
-- Returns for each that has: id, state, result, reason, last run (of a dead one).
local ENDED = { done = true, dead = true, cancelled = true, expired = true }
local outcomes = {}
for a = 2, #ARGV do
  local f = fields_at(ARGV[a], 'state', 'expires', 'result', 'reason')
  local state = f[1]
  if (state == 'ready' or state == 'scheduled') and f[2] and tonumber(f[2]) <= now then
    state = 'expired'
  end
  if state and ENDED[state] then
    local run = state == 'dead' and call('LINDEX', K .. ':runs:' .. ARGV[a], -1)
    outcomes[#outcomes + 1] = { ARGV[a], state, f[3], f[4], run or false }
  end
end
return outcomes
