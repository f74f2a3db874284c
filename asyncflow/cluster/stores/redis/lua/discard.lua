-- Forget jobs. ARGV: schema, {digest, ...}. Returns how many there were.

local digests, found, leased = cmsgpack.unpack(ARGV[2]), {}, 0
local values = #digests > 0 and redis.call('HMGET', JOBS, unpack(digests)) or {}
for index, digest in ipairs(digests) do
    local job = values[index] and unpacked(values[index])
    if job then
        found[#found + 1] = digest
        leased = leased + ((job.flag == LEASED or job.flag == NUDGED) and 1 or 0)
    end
end
if #found > 0 then
    redis.call('HDEL', JOBS, unpack(found))
    redis.call('ZREM', DUE, unpack(found))
    redis.call('ZREM', OVER, unpack(found))
    if leased > 0 then
        redis.call('HINCRBY', META, 'leased', -leased)
    end
end
return #found
