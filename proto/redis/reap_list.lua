-- Some members of a dead node, for a sweeper that is still the leader.
--
-- KEYS  1 sy:lease:{node}   2 sy:members:{node}   3 sy:fence:{node}
-- ARGV  1 fence   2 at most so many
-- Answer: { "ok", member ... }, { "alive" } or { "stale" }
--
-- The highest fence seen is kept with the node, in the node's slot. It goes with the
-- node (reap_done); the day is for one left behind by a sweeper that died between.
if redis.call('EXISTS', KEYS[1]) == 1 then
    return { 'alive' }
end
if tonumber(redis.call('GET', KEYS[3]) or '0') > tonumber(ARGV[1]) then
    return { 'stale' }
end
redis.call('SET', KEYS[3], ARGV[1], 'PX', '86400000')
local members = redis.call('SRANDMEMBER', KEYS[2], ARGV[2])
table.insert(members, 1, 'ok')
return members
