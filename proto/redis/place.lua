-- What stands in the place of a link: a part of register.lua and verify.lua.
--
-- The place is the device's; under the policy "class" that of all devices of its class,
-- under "one" that of all devices of the user. Beside it a user has at most so many others.
-- An epoch that a double cannot hold is nobody's: it counts as 0.

-- Sorts the answer of HGETALL into what stands in the place and all others.
local function look(rows, device, class, policy)
    local rivals, others = {}, {}
    for i = 1, #rows, 2 do
        local owner, text, theirs = string.match(rows[i + 1], '^(%S+ %d+) (%d+) %d+ (%S+) ')
        local epoch = tonumber(text or '0')
        local link = { device = rows[i], row = rows[i + 1], owner = owner or '',
                       epoch = epoch < 9007199254740992 and epoch or 0 }
        if link.device == device or policy == 'one' or (policy == 'class' and theirs == class) then
            table.insert(rivals, link)
        elseif owner then -- a row that nobody can read is ignored
            table.insert(others, link)
        end
    end
    return rivals, others
end

-- Adds those to the rivals for whom there is no room beside the link: the oldest.
local function crowd(rivals, others, most)
    if #others < most then
        return
    end
    table.sort(others, function(a, b)
        return a.epoch > b.epoch or (a.epoch == b.epoch and a.owner > b.owner)
    end)
    for i = most, #others do
        table.insert(rivals, others[i])
    end
end

-- The answer to a link that is not the newest: its own row goes, if it has one.
local function yield(key, device, owner, newer)
    local row = call('HGET', key, device)
    if row and string.sub(row, 1, #owner + 1) == owner .. ' ' then
        call('HDEL', key, device)
        row = false
    end
    return { 2, string.format('%.0f', newer.epoch), row and { row } or {}, {} }
end

-- Deletes the rivals' rows; returns them, but for a row of the same connection.
local function displace(key, device, owner, rivals)
    local rows = {}
    for _, link in ipairs(rivals) do
        if link.device ~= device then
            call('HDEL', key, link.device)
        end
        if link.owner ~= owner then
            table.insert(rows, link.row)
        end
    end
    return rows
end
