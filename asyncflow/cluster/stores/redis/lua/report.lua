-- Take in what polls have found. ARGV: schema, seconds that nobody shall poll ('' for none), worker, {{digest, fence,
-- delay until the next poll or -1 for none, state, status of the event, place of the event in ARGV or 0, lesson}, ...}, events...
-- Returns {{1 if it counted, 0 if the lease was lost, ...}, place of the last event}.

local pause, worker, reports = tonumber(ARGV[2]), ARGV[3], cmsgpack.unpack(ARGV[4])
-- Needs memory: where there is none left, nothing of this is done.
redis.call('HINCRBY', META, 'reports', #reports)
if pause then
    local paused = math.max(tonumber(redis.call('HGET', BUDGET, 'paused') or 0), now + pause)
    redis.call('HSET', BUDGET, 'paused', precise(paused), 'slowed', precise(paused))
    redis.call('HINCRBY', META, 'throttled', 1)
end

local digests = {}
for index, report in ipairs(reports) do
    digests[index] = report[1]
end
local values = #digests > 0 and redis.call('HMGET', JOBS, unpack(digests)) or {}
local counted, fields, due, over, ended, number_of, last = {}, {}, {}, {}, {}, 0, ''
for index, report in ipairs(reports) do
    local digest, fence, delay, state, status, place, lesson = unpack(report)
    local job = values[index] and unpacked(values[index])
    if job and job.fence == fence and (job.flag == LEASED or job.flag == NUDGED) then
        if place > 0 then
            job.number = (job.number + 1) % 65536
            last = redis.call('XADD', EVENTS, '*', 'd', digest, 'n', job.number, 's', status, 'e', ARGV[place])
        end
        if lesson ~= '' then
            redis.call('XADD', LESSONS, 'MAXLEN', '~', 2000, '*', 'w', worker, 'l', lesson)
        end
        if delay < 0 then
            job.flag, job.fence, job.at, job.state, job.rest = ENDED, 0, math.floor(now), '', last
            ended[#ended + 1] = digest
            over[#over + 1] = precise(now)
            over[#over + 1] = digest
        else
            due[#due + 1] = precise(job.flag == NUDGED and now or now + delay)
            due[#due + 1] = digest
            job.flag, job.fence, job.state = WAITING, 0, state
        end
        fields[#fields + 1] = digest
        fields[#fields + 1] = packed(job)
        counted[index] = 1
        number_of = number_of + 1
    else
        counted[index] = 0
    end
end
if number_of > 0 then
    set_all(JOBS, fields)
    add_all(DUE, due)
    redis.call('HINCRBY', META, 'leased', -number_of)
    if #ended > 0 then
        redis.call('ZREM', DUE, unpack(ended))
        add_all(OVER, over)
        redis.call('HINCRBY', META, 'ended', #ended)
    end
end
if number_of < #reports then
    redis.call('HINCRBY', META, 'stale', #reports - number_of)
end
return cmsgpack.pack({counted, last})
