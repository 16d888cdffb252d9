-- Writes the link of one device, as the newest login in its place, and deletes those that
-- it takes the place of.
--
-- KEYS  1 sy:user:{user}   2 sy:watch:{user}
-- ARGV  1 device, mapped   2 "<node> <connection>"   3 "<since_ms> <class or -> <device>"
--       4 ms since the login   5 policy: many, class or one   6 most devices of a user
--       7 epoch of a login that came before this one for certain, or 0
-- Answer: { 1, epoch, { rows that were displaced }, { nodes that remembered the user } }, or
-- the epoch alone if the user had no row and nobody remembered that, as at most logins.
-- Or { 2, epoch of the newer, { row of the device as it stands, if any }, {} }: a newer login
-- stands in the place; nothing was written.
--
-- The epoch is this server's clock in microseconds at the time of the login: one that comes
-- late does not beat the login after it. The time that a register is on its way is not in
-- that: the one before, on the same edge, may have an epoch after our login. A row from the future was written before the clock
-- went back: it is older, and the epoch becomes one more than its own. Whoever remembered
-- the user is handed out once; they ask again if they still care. Numbers are made of text,
-- and the functions of place.lua, only where there is a row to compare with.
local call = redis.call
local rows = call('HGETALL', KEYS[1])
local now = call('TIME')
local now_us = now[1] .. string.sub('000000' .. now[2], -6)
local text = now_us
if ARGV[4] ~= '0' then
    local login, before = tonumber(now_us) - 1000 * tonumber(ARGV[4]), tonumber(ARGV[7])
    if before >= login and before < tonumber(now_us) then
        login = before + 1
    end
    text = string.format('%.0f', login)
end
local watchers = call('HKEYS', KEYS[2])
if #rows == 0 then
    call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. text .. ' ' .. ARGV[3])
    if #watchers == 0 then
        return text
    end
    call('DEL', KEYS[2])
    return { 1, text, {}, watchers }
end

-- place.lua

local rivals, others = look(rows, ARGV[1], string.match(ARGV[3], '^%d+ (%S+) '), ARGV[5])
local login = tonumber(text)
local epoch = login
for _, link in ipairs(rivals) do
    if link.epoch >= epoch and link.epoch < 9007199254740991 then
        epoch = link.epoch + 1
    end
end
crowd(rivals, others, tonumber(ARGV[6]))
for _, link in ipairs(rivals) do
    if link.epoch > login and link.epoch <= tonumber(now_us) and link.owner ~= ARGV[2] then
        return yield(KEYS[1], ARGV[1], ARGV[2], link)
    end
end
if epoch > login then
    text = string.format('%.0f', epoch)
end
local displaced = displace(KEYS[1], ARGV[1], ARGV[2], rivals)
call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. text .. ' ' .. ARGV[3])
if #watchers > 0 then
    call('DEL', KEYS[2])
end
return { 1, text, displaced, watchers }
