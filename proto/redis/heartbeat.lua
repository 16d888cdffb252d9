-- Renews the lease of an edge.
--
-- KEYS  1 sy:lease:{node}
-- ARGV  1 lease in ms   2.. field, value, field, value ...
-- Answer: 1 if there was no lease (the first one, or it was lost), else 0.
--
-- Whoever is told "lost" may have been declared dead, and verifies all its links.
local lost = 1 - redis.call('EXISTS', KEYS[1])
for i = 2, #ARGV, 2 do
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return lost
