-- uses: queue
-- K:ticks:<name>  what became of a schedule's ticks, by tick: "<tick> <outcome> <at> <id of its job or empty>"
-- K:open:<name>   ids of jobs of its ticks that have not been seen to have ended, by tick

-- Remove the first `surplus` of some ticks, those aside whose job may live; return how many went.
local function drop_ticks(name, ticks, surplus)
  local gone = 0
  for _, member in ipairs(ticks) do
    if gone == surplus then
      break
    end
    local tick = string.match(member, '^%-?%d+')
    if call('ZCOUNT', K .. ':open:' .. name, tick, tick) == 0 then
      call('ZREM', K .. ':ticks:' .. name, member)
      gone = gone + 1
    end
  end
  return gone
end
