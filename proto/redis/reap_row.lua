-- Deletes the link of one device, if it still points at the dead node.
--
-- KEYS  1 sy:user:{user}
-- ARGV  1 device, mapped   2 "<node> "
-- Answer: 1 if deleted, else 0 (the device has moved on, or is gone).
local row = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if string.sub(row, 1, #ARGV[2]) == ARGV[2] then
    return redis.call('HDEL', KEYS[1], ARGV[1])
end
return 0
