-- Move the keys to the schema that the caller knows. ARGV: schema, seconds in which a worker is heard of if it runs.
-- Returns the names of the workers that would not understand it; only where there are none, anything is done.

local older, workers = {}, redis.call('HGETALL', WORKERS)
for place = 1, #workers, 2 do
    local at, version = string.match(workers[place + 1], '^(%S+) (%d+)')
    if tonumber(version) < known and now - tonumber(at) < tonumber(ARGV[2]) then
        older[#older + 1] = workers[place]
    end
end
if #older == 0 then
    redis.call('HSET', META, 'schema', integer(known))
end
return older
