-- Some members of a dead node, for a sweeper that is still the leader.
--
-- KEYS  1 sy:lease:{node}   2 sy:members:{node}   3 sy:fence:{node}
-- ARGV  1 fence   2 about so many   3 cursor: where the last batch ended, 0 at first
-- Answer: { "ok", cursor, { member ... } }, { "alive" } or { "stale" }
--
-- The highest fence seen is kept with the node, in the node's slot. It goes with the
-- node (reap_done); the day is for one left behind by a sweeper that died between.
-- The index is walked, since drawing members at random costs ten times as much. Any cursor
-- is a good one: at the end of the walk the next begins, until nothing is left.
local call = redis.call
if call('EXISTS', KEYS[1]) == 1 then
    return { 'alive' }
end
if tonumber(call('GET', KEYS[3]) or '0') > tonumber(ARGV[1]) then
    return { 'stale' }
end
call('SET', KEYS[3], ARGV[1], 'PX', '86400000')
local walk = call('SSCAN', KEYS[2], ARGV[3], 'COUNT', ARGV[2])
return { 'ok', walk[1], walk[2] }
