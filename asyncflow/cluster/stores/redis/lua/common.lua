-- What every script begins with. KEYS are those of one queue, in one hash slot; ARGV[1] is the schema that the caller knows.
--
-- A job is a field of JOBS, under the digest of its id: a header, its state (opaque here) and its id. DUE holds the instants at
-- which jobs may be claimed next: the end of the lease for one that is leased. OVER holds when jobs ended.

local META, JOBS, DUE, OVER, EVENTS, BUDGET, LESSONS, WORKERS = unpack(KEYS)
local WAITING, LEASED, NUDGED, ENDED = 1, 2, 3, 9
local HEADER = '>BI8I2I4I2' -- flag, fence, number of events, added at (or ended at), length of the state
local HEADER_BYTES = 17

local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local known = tonumber(ARGV[1])
local schema = tonumber(redis.call('HGET', META, 'schema') or known)
if schema > known then
    return redis.error_reply('AFNEWER the keys have schema ' .. schema)
end

local function unpacked(value)
    local flag, fence, number, at, length = struct.unpack(HEADER, value)
    return {
        flag = flag,
        fence = fence,
        number = number,
        at = at,
        state = string.sub(value, HEADER_BYTES + 1, HEADER_BYTES + length),
        rest = string.sub(value, HEADER_BYTES + length + 1), -- the id, or of one that has ended the place of its last event
    }
end

local function packed(job)
    return struct.pack(HEADER, job.flag, job.fence, job.number, job.at, #job.state) .. job.state .. job.rest
end

-- Lua's own conversion of large numbers would round them.
local function integer(number)
    return string.format('%.0f', number)
end

local function precise(number)
    return string.format('%.6f', number)
end

local function set_all(key, fields)
    -- unpack() has a limit of some thousands.
    for start = 1, #fields, 2000 do
        redis.call('HSET', key, unpack(fields, start, math.min(start + 1999, #fields)))
    end
end

local function add_all(key, members)
    for start = 1, #members, 2000 do
        redis.call('ZADD', key, unpack(members, start, math.min(start + 1999, #members)))
    end
end
