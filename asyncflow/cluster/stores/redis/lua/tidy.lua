-- Forget what is past its time. ARGV: schema, retention, most events, seconds after which a silent worker is forgotten.
-- Returns 1 if there is more to forget.

local retention, most, silence = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local past = redis.call('ZRANGEBYSCORE', OVER, '-inf', precise(now - retention), 'LIMIT', 0, 1000)
if #past > 0 then
    redis.call('HDEL', JOBS, unpack(past))
    redis.call('ZREM', OVER, unpack(past))
end
redis.call('XTRIM', EVENTS, 'MINID', '~', integer((now - retention) * 1000))
local surplus = redis.call('XLEN', EVENTS) - most
if surplus > 0 then
    -- Beyond the cap only what every group has handled: the slowest of them loses nothing before its time.
    local function before(one, other)
        local time, number = string.match(one, '^(%d+)-(%d+)$')
        local other_time, other_number = string.match(other, '^(%d+)-(%d+)$')
        if time == other_time then
            return tonumber(number) < tonumber(other_number)
        end
        return tonumber(time) < tonumber(other_time)
    end
    local safe = integer(now * 1000) .. '-0'
    for _, group in ipairs(redis.call('XINFO', 'GROUPS', EVENTS)) do
        local fields = {}
        for place = 1, #group, 2 do
            fields[group[place]] = group[place + 1]
        end
        local first = fields['last-delivered-id']
        if fields['pending'] > 0 then
            first = redis.call('XPENDING', EVENTS, fields['name'])[2]
        end
        if before(first, safe) then
            safe = first
        end
    end
    redis.call('XTRIM', EVENTS, 'MINID', '~', safe, 'LIMIT', surplus)
end
local workers = redis.call('HGETALL', WORKERS)
for place = 1, #workers, 2 do
    if now - tonumber(string.match(workers[place + 1], '^%S+')) > silence then
        redis.call('HDEL', WORKERS, workers[place])
    end
end
return #past == 1000 and 1 or 0
