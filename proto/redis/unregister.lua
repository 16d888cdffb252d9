-- Deletes the link of one device, if it is exactly the one that ended.
--
-- KEYS  1 sy:user:{user}
-- ARGV  1 device, mapped   2 "<node> "   3 "<node> <connection> <epoch> "
-- Answer: 1 deleted; 0 another link of the same node is there now, so the node's
-- index entry must stay; -1 no link, or one of another node: the index entry may go.
--
-- The compare is what stops the late goodbye of an old socket from deleting the row
-- of the new one.
local row = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if string.sub(row, 1, #ARGV[3]) == ARGV[3] then
    redis.call('HDEL', KEYS[1], ARGV[1])
    return 1
end
if string.sub(row, 1, #ARGV[2]) == ARGV[2] then
    return 0
end
return -1
