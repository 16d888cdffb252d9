-- Drops reaped members from a dead node's index, and the node with the last of them.
--
-- KEYS  1 sy:lease:{node}   2 sy:members:{node}   3 sy:fence:{node}
-- ARGV  1 fence   2.. member ...
-- Answer: { "ok", members left }, { "alive" } or { "stale" }
--
-- Lease and fence are asked again, since the rows lie in other slots and were deleted
-- one by one meanwhile: a node that came back keeps its whole index, and verifies its
-- links because its heartbeat told it that the lease was lost.
-- 500 members to a command, far below what Lua's stack holds.
if redis.call('EXISTS', KEYS[1]) == 1 then
    return { 'alive' }
end
if tonumber(redis.call('GET', KEYS[3]) or '0') > tonumber(ARGV[1]) then
    return { 'stale' }
end
for i = 2, #ARGV, 500 do
    redis.call('SREM', KEYS[2], unpack(ARGV, i, math.min(i + 499, #ARGV)))
end
local left = redis.call('SCARD', KEYS[2])
if left == 0 then
    redis.call('DEL', KEYS[3])
end
return { 'ok', left }
