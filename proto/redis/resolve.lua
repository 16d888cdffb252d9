-- Reads all links of a user, and notes who remembers them.
--
-- KEYS  1 sy:user:{user}   2 sy:watch:{user}
-- ARGV  1 node that remembers the answer, or "" for nobody   2 for how many ms
-- Answer: { row ... }
--
-- Also noted when there is no link: the node that remembers "not here" is told of
-- the login. The note lives as long as the longest memory of any node.
if ARGV[1] ~= '' then
    local left = redis.call('PTTL', KEYS[2])
    redis.call('HSET', KEYS[2], ARGV[1], '1')
    redis.call('PEXPIRE', KEYS[2], string.format('%.0f', math.max(left, tonumber(ARGV[2]))))
end
return redis.call('HVALS', KEYS[1])
