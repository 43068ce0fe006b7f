-- uses: queue
-- A schedule as it is returned: name, definition, paused, next, version, created; nothing for one of a newer release.
local function schedule_of(name)
  local f = call('HMGET', K .. ':schedule:' .. name, 'format', 'definition', 'paused', 'next', 'version', 'created')
  return f[1] == '1' and { name, f[2], f[3], f[4], f[5], f[6] } or nil
end
