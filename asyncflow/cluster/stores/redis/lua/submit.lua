-- Watch ids. ARGV: schema, {digest, id, digest, id, ...}, 1 to watch again what has ended.
-- Returns {place of the last event, {1 new | 2 watched | 0 the digest of another id | place of the ending, ...}}.

local given, again = cmsgpack.unpack(ARGV[2]), ARGV[3] == '1'
local digests = {}
for place = 1, #given, 2 do
    digests[#digests + 1] = given[place]
end
local values = #digests > 0 and redis.call('HMGET', JOBS, unpack(digests)) or {}
local states, fields, due, revived, seen = {}, {}, {}, {}, {}
for index, digest in ipairs(digests) do
    local id, value = given[2 * index], values[index]
    local old = value and unpacked(value)
    local state
    if seen[digest] then
        state = 2
    elseif old and old.flag ~= ENDED then
        state = old.rest == id and 2 or 0
    elseif old and not again then
        state = old.rest
    else
        -- The numbering of a job that is watched again goes on, so that its events are not taken for repeats.
        local number = old and old.number or 0
        fields[#fields + 1] = digest
        fields[#fields + 1] = packed({flag = WAITING, fence = 0, number = number, at = math.floor(now), state = '', rest = id})
        due[#due + 1] = precise(now)
        due[#due + 1] = digest
        if old then
            revived[#revived + 1] = digest
        end
        state, seen[digest] = 1, true
    end
    states[index] = state
end
if #fields > 0 then
    -- First of all something that needs memory: where there is none left, nothing of this is done.
    redis.call('HSET', META, 'schema', integer(schema))
    redis.call('HINCRBY', META, 'submitted', #fields / 2)
    set_all(JOBS, fields)
    add_all(DUE, due)
    if #revived > 0 then
        redis.call('ZREM', OVER, unpack(revived))
    end
end
local last = redis.call('XREVRANGE', EVENTS, '+', '-', 'COUNT', 1)
return cmsgpack.pack({last[1] and last[1][1] or '0-0', states})
