-- Renews the lease of an edge.
--
-- KEYS  1 sy:lease:{node}
-- ARGV  1 lease in ms   2.. field, value, field, value ...
-- Answer: when the lease was taken, this server's clock in microseconds.
--
-- Another number than the last one heard: there was no lease meanwhile. Whoever is told so
-- may have been declared dead, and verifies all its links. Every answer says so, since the
-- first one may be lost.
local call, key = redis.call, KEYS[1]
local taken = call('HGET', key, 'taken')
if not taken then
    local now = call('TIME')
    taken = now[1] .. string.sub('000000' .. now[2], -6)
    call('HSET', key, 'taken', taken)
end
for i = 2, #ARGV, 2 do
    call('HSET', key, ARGV[i], ARGV[i + 1])
end
call('PEXPIRE', key, ARGV[1])
return taken
