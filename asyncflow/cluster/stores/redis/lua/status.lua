-- Tell how the queue is doing. ARGV: schema. Nothing is written.

local first = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')
local groups = redis.pcall('XINFO', 'GROUPS', EVENTS)
return cmsgpack.pack({
    now,
    redis.call('HGETALL', META),
    redis.call('HGETALL', BUDGET),
    redis.call('HGETALL', WORKERS),
    redis.call('ZCARD', DUE),
    redis.call('ZCOUNT', DUE, '-inf', precise(now)),
    first[2] and math.max(now - tonumber(first[2]), 0) or 0,
    redis.call('ZCARD', OVER),
    redis.call('XLEN', EVENTS),
    groups.err and {} or groups,
    schema,
})
