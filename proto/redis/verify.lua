-- Makes the row of a living link true again, or tells that a newer login has it.
--
-- KEYS  1 sy:user:{user}   2 sy:watch:{user}
-- ARGV  1 device, mapped   2 "<node> <connection>"   3 epoch
--       4 "<since_ms> <class or -> <device>"
-- Answer: { verdict, epoch of the row as it is now, row that was there or "",
--           { nodes that remembered it } }
--   verdict 0 kept: the row is this link's
--           1 rewritten: it was missing, unreadable or of an older login
--           2 superseded: it is a newer login's, and was left alone
--
-- A row of the same connection with a higher epoch is this link too: its register
-- was carried out, but the answer was lost. Equal epochs of two connections (only
-- after data loss) are ordered by their text, so that all edges agree on one.
local row = redis.call('HGET', KEYS[1], ARGV[1]) or ''
local owner, text = string.match(row, '^(%S+ %d+) (%d+) ')
local stored = tonumber(text or '-1')
local epoch = tonumber(ARGV[3])
if stored < 9007199254740992 then
    if owner == ARGV[2] and stored >= epoch then
        return { 0, text, row, {} }
    end
    if stored > epoch or (stored == epoch and owner > ARGV[2]) then
        return { 2, text, row, {} }
    end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. ARGV[4])
local watchers = redis.call('HKEYS', KEYS[2])
if #watchers > 0 then
    redis.call('DEL', KEYS[2])
end
return { 1, ARGV[3], row, watchers }
