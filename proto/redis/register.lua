-- Writes the link of one device, as the newest login of that device.
--
-- KEYS  1 sy:user:{user}   2 sy:watch:{user}
-- ARGV  1 device, mapped   2 "<node> <connection>"   3 "<since_ms> <class or -> <device>"
-- Answer: { epoch, row that was there, { nodes that remembered it } }, or the epoch alone
-- if there was no row and nobody remembered one, as at most logins.
--
-- The epoch is this server's clock in microseconds, but always above the one stored:
-- a clock that went back never makes an old login look newer. Whoever remembered the
-- row is handed out once; they ask again if they still care.
-- A stored epoch that a double cannot hold is nobody's: it counts as none.
local before = redis.call('HGET', KEYS[1], ARGV[1]) or ''
local now = redis.call('TIME')
local epoch = tonumber(now[1]) * 1000000 + tonumber(now[2])
if before ~= '' then
    local stored = tonumber(string.match(before, '^%S+ %d+ (%d+) ') or '0')
    if stored < 9007199254740991 and stored >= epoch then
        epoch = stored + 1
    end
end
local text = string.format('%.0f', epoch)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. text .. ' ' .. ARGV[3])
local watchers = redis.call('HKEYS', KEYS[2])
if #watchers > 0 then
    redis.call('DEL', KEYS[2])
elseif before == '' then
    return text
end
return { text, before, watchers }
