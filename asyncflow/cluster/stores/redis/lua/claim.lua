-- Lease due jobs, and pay for their polls. ARGV: schema, worker, how many, lease, longest wait, what the worker says of itself.
-- Returns {now, wait, pause, 1 if draining, {{id, fence, added at, due at, state}, ...}}.

local worker, asked, lease, longest = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
-- Needs memory: where there is none left, nothing of this is done.
redis.call('HSET', WORKERS, worker, precise(now) .. ' ' .. known .. ' ' .. ARGV[6])
if redis.call('HGET', META, 'draining') then
    return cmsgpack.pack({now, longest, 0, 1, {}})
end

-- The budget: a bucket that holds a fiftieth of a second's tokens, so that no second sees more than that beyond the rate.
local budget = redis.call('HMGET', BUDGET, 'rate', 'tokens', 'at', 'paused', 'slowed')
local rate, paused = tonumber(budget[1] or nil), tonumber(budget[4] or nil) or 0
if paused > now then
    return cmsgpack.pack({now, math.min(paused - now, longest), paused - now, 0, {}})
end
local count, tokens, burst = asked, 0, 0
if rate then
    -- Half as fast after a pause, and back in a minute.
    local since = now - (tonumber(budget[5] or nil) or 0)
    rate = rate * math.min(1, 0.5 + math.max(since, 0) / 120)
    burst = math.max(1, rate / 50)
    local passed = math.max(now - (tonumber(budget[3] or nil) or 0), 0)
    tokens = math.min(burst, (tonumber(budget[2] or nil) or burst) + passed * rate)
    count = math.min(asked, math.floor(tokens + 0.000001))
end

local found = count > 0 and redis.call('ZRANGEBYSCORE', DUE, '-inf', precise(now), 'WITHSCORES', 'LIMIT', 0, count) or {}
local digests, scores = {}, {}
for place = 1, #found, 2 do
    digests[#digests + 1], scores[#scores + 1] = found[place], tonumber(found[place + 1])
end
local claims, fields, due, lost, taken = {}, {}, {}, {}, 0
if #digests > 0 then
    -- The time of day is part of a fence: an engine that has lost its last second gives none twice.
    local fence = math.max(tonumber(redis.call('HGET', META, 'fence') or 0) + 1, math.floor(now * 1000000))
    redis.call('HSET', META, 'fence', integer(fence + #digests))
    local values = redis.call('HMGET', JOBS, unpack(digests))
    for index, digest in ipairs(digests) do
        local job = values[index] and unpacked(values[index])
        if job and job.flag ~= ENDED then
            if job.flag ~= WAITING then
                taken = taken + 1
            end
            job.flag, job.fence = LEASED, fence + index
            fields[#fields + 1] = digest
            fields[#fields + 1] = packed(job)
            due[#due + 1] = precise(now + lease)
            due[#due + 1] = digest
            claims[#claims + 1] = {job.rest, job.fence, job.at, scores[index], job.state}
        else
            lost[#lost + 1] = digest
        end
    end
    if #lost > 0 then
        redis.call('ZREM', DUE, unpack(lost))
    end
    if #claims > 0 then
        set_all(JOBS, fields)
        add_all(DUE, due)
        redis.call('HINCRBY', META, 'claimed', #claims)
        redis.call('HINCRBY', META, 'leased', #claims - taken)
        if taken > 0 then
            redis.call('HINCRBY', META, 'taken_over', taken)
        end
    end
end
if rate then
    redis.call('HSET', BUDGET, 'tokens', precise(tokens - #claims), 'at', precise(now))
end

local wait = 0
if #claims < asked then
    wait = longest
    local first = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')
    if first[2] then
        wait = math.min(wait, math.max(tonumber(first[2]) - now, 0))
    end
    if rate and #claims == count then
        wait = math.min(longest, math.max(wait, (math.min(burst, asked) - (tokens - #claims)) / rate))
    end
end
return cmsgpack.pack({now, wait, 0, 0, claims})
