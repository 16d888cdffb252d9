-- Takes, renews or gives back the leadership of the sweepers.
--
-- KEYS  1 sy:{sweeper}:leader   2 sy:{sweeper}:fence
-- ARGV  1 sweeper   2 lease in ms; 0 gives it back
-- Answer: { 1 if this sweeper leads now else 0, fence, seconds this server is up }
--
-- Each change of leader raises the fence. A leader that slept through its lease still
-- holds the old number, and reap_list and reap_done refuse it. The fence is at least this
-- server's clock in seconds: when its data is lost it does not start from 1 again, and a
-- leader of before leaves no fence behind at a node that refuses the ones to come.
local leader = redis.call('GET', KEYS[1])
local leads = 0
if leader == ARGV[1] then
    if ARGV[2] == '0' then
        redis.call('DEL', KEYS[1])
    else
        redis.call('PEXPIRE', KEYS[1], ARGV[2])
        leads = 1
    end
elseif not leader and ARGV[2] ~= '0' then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    local now = tonumber(redis.call('TIME')[1])
    local last = tonumber(redis.call('GET', KEYS[2]) or '0')
    redis.call('SET', KEYS[2], string.format('%.0f', math.max(last + 1, now)))
    leads = 1
end
local fence = tonumber(redis.call('GET', KEYS[2]) or '0')
local up = string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)')
return { leads, fence, tonumber(up or '0') }
