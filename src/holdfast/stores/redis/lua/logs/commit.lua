-- uses: logs/log
-- Move places that a member holds.
--
-- ARGV[2] group, [3] its number, [4] member, [5…] fours of partition, next, version, finished beyond (JSON, or empty)
-- Returns what is committed in each now, -1 where the member does not hold it in that version.
local group, number, member = ARGV[2], ARGV[3], ARGV[4]
local at, answer = K .. ':group:' .. group, {}
local is_there = call('HGET', at, 'number') == number
for a = 5, #ARGV, 4 do
  local i, following = ARGV[a], tonumber(ARGV[a + 1])
  local its = is_there and call('HMGET', at, 'n' .. i, 'v' .. i, 'o' .. i) or {}
  if its[3] ~= member or its[2] ~= ARGV[a + 2] then
    answer[#answer + 1] = -1
  else
    local known = tonumber(its[1]) or 0
    if following >= known then
      call('HDEL', at, 'f' .. i) -- frees, so that a full server takes the rest
      call('HSET', at, 'n' .. i, ARGV[a + 1])
      if ARGV[a + 3] ~= '' then
        call('HSET', at, 'f' .. i, ARGV[a + 3])
      end
      forget_crashes(group, i, following)
    end
    answer[#answer + 1] = math.max(known, following)
  end
end
if is_there and #ARGV > 4 then
  begin()
  call('HSET', at, 'seen', boot)
end
return answer
