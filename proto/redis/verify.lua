-- Makes the row of a living link true again, or tells that a newer login has its place.
--
-- KEYS  1 sy:user:{user}   2 sy:watch:{user}
-- ARGV  1 device, mapped   2 "<node> <connection>"   3 epoch
--       4 "<since_ms> <class or -> <device>"   5 policy: many, class or one
--       6 most devices of a user
-- Answer: { verdict, epoch, { rows }, { nodes that remembered the user } }
--   verdict 0 kept: the row is this link's
--           1 rewritten: it was missing, unreadable or of an older login
--           2 superseded: a newer login stands in its place, and was left alone
--   epoch   of the row as it is now, or of the newer login
--   rows    that were displaced; if superseded, the row of the device as it stands, if any
--
-- A row of the same connection with a higher epoch is this link too: its register
-- was carried out, but the answer was lost. Equal epochs of two connections (only
-- after data loss) are ordered by their text, so that all edges agree on one.
local call = redis.call
local rows = call('HGETALL', KEYS[1])
local ours = ARGV[2] .. ' ' .. ARGV[3] .. ' '
if #rows == 2 and rows[1] == ARGV[1] and string.sub(rows[2], 1, #ours) == ours then
    return { 0, ARGV[3], {}, {} } -- as at most verifies
end

-- place.lua

local rivals, others = look(rows, ARGV[1], string.match(ARGV[4], '^%d+ (%S+) '), ARGV[5])
local epoch, text, verdict = tonumber(ARGV[3]), ARGV[3], 1
for _, link in ipairs(rivals) do
    if link.owner == ARGV[2] and link.device == ARGV[1] and link.epoch >= epoch then
        epoch, text, verdict = link.epoch, string.format('%.0f', link.epoch), 0
    end
end
crowd(rivals, others, tonumber(ARGV[6]))
for _, link in ipairs(rivals) do
    local is_newer = link.epoch > epoch or (link.epoch == epoch and link.owner > ARGV[2])
    if is_newer and link.owner ~= ARGV[2] then
        return yield(KEYS[1], ARGV[1], ARGV[2], link)
    end
end
local displaced = displace(KEYS[1], ARGV[1], ARGV[2], rivals)
if verdict == 1 then
    call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. text .. ' ' .. ARGV[4])
elseif #displaced == 0 then
    return { 0, text, {}, {} }
end
local watchers = call('HKEYS', KEYS[2])
if #watchers > 0 then
    call('DEL', KEYS[2])
end
return { verdict, text, displaced, watchers }
