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
-- A stored epoch that a double cannot hold is nobody's: it counts as none. Numbers are made
-- of text only where there is a row to compare with: formatting one costs as much as HSET.
local call = redis.call
local before = call('HGET', KEYS[1], ARGV[1])
local now = call('TIME')
local text = now[1] .. string.sub('000000' .. now[2], -6)
if before then
    local stored = tonumber(string.match(before, '^%S+ %d+ (%d+) ') or '0')
    local epoch = tonumber(text)
    if stored < 9007199254740991 and stored >= epoch then
        text = string.format('%.0f', stored + 1)
    end
end
call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. text .. ' ' .. ARGV[3])
local watchers = call('HKEYS', KEYS[2])
if #watchers > 0 then
    call('DEL', KEYS[2])
elseif not before then
    return text
end
return { text, before or '', watchers }
