-- Deletes the link of one device, if it still points at the dead node.
--
-- KEYS  1 sy:user:{user}
-- ARGV  1 device, mapped   2 "<node> "
-- Answer: 1 if deleted, else 0 (the device has moved on, or is gone).
local call, key, device, owner = redis.call, KEYS[1], ARGV[1], ARGV[2]
local row = call('HGET', key, device)
if row and string.sub(row, 1, #owner) == owner then
    return call('HDEL', key, device)
end
return 0
