-- Make jobs due now. ARGV: schema, {digest, ...}, 1 to break leases too. Returns how many it concerned.

local digests, breaks = cmsgpack.unpack(ARGV[2]), ARGV[3] == '1'
local values = #digests > 0 and redis.call('HMGET', JOBS, unpack(digests)) or {}
local fields, due, broken, concerned = {}, {}, 0, 0
for index, digest in ipairs(digests) do
    local job = values[index] and unpacked(values[index])
    if job and job.flag ~= ENDED then
        concerned = concerned + 1
        if job.flag == WAITING or breaks then
            due[#due + 1] = precise(now)
            due[#due + 1] = digest
        end
        if job.flag ~= WAITING then
            broken = broken + (breaks and 1 or 0)
            -- The answer under way may predate the hint: one more poll follows it.
            job.flag, job.fence = breaks and WAITING or NUDGED, breaks and 0 or job.fence
            fields[#fields + 1] = digest
            fields[#fields + 1] = packed(job)
        end
    end
end
set_all(JOBS, fields)
add_all(DUE, due)
if broken > 0 then
    redis.call('HINCRBY', META, 'leased', -broken)
end
return concerned
