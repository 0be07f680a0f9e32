-- Sends the everyday requests of clients, as fast as the service answers them: it creates and
-- deletes assignments, replaces sets, and renames and reads configurations. It deletes as many
-- assignments as it creates.

local random, format = math.random, string.format
local base = "/v1.0/deviceManagement/deviceConfigurations/01900000-0000-7000-8000-"
local json = { ["Content-Type"] = "application/json" }
-- The number of creates between a create and its delete, so that the create was answered.
local KEPT = 10000

local prefix, last, kept, first, next = nil, 0, {}, 1, 1

local function guid()
  last = last + 1
  return prefix .. format("%012x", last)
end

local function group(target)
  return '{"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": "' .. target .. '"}'
end

local function create()
  local path, id = format("%s%012d/assignments", base, random(1, 1000)), guid()
  kept[next], next = path .. "/" .. id, next + 1
  return wrk.format("POST", path, json, format('{"id": "%s", "target": %s}', id, group(guid())))
end

local function delete()
  if next - first < KEPT then return create() end
  local path = kept[first]
  kept[first], first = nil, first + 1
  return wrk.format("DELETE", path)
end

local function assign()
  local set = {}
  for n = 1, 5 do
    set[n] = '{"target": ' .. group(guid()) .. "}"
  end
  return wrk.format("POST", format("%s%012d/assign", base, random(1001, 1500)), json, '{"assignments": [' .. table.concat(set, ",") .. "]}")
end

local function rename()
  return wrk.format("PATCH", format("%s%012d", base, random(1501, 2000)), json, format('{"displayName": "%s"}', guid()))
end

local function read()
  return wrk.format("GET", format("%s%012d", base, random(1, 2000)))
end

local function list()
  return wrk.format("GET", format("%s%012d/assignments", base, random(1, 2000)))
end

local ten = { create, create, create, delete, delete, delete, assign, rename, read, list }

function init()
  -- A random prefix, so that no two threads write the same ids.
  local seed = io.open("/dev/urandom", "rb")
  local a, b, c, d = seed:read(4):byte(1, 4)
  seed:close()
  math.randomseed(((a * 256 + b) * 256 + c) * 256 + d)
  prefix = format("%08x-%04x-4000-8000-", random(0, 0x7fffffff), random(0, 0xffff))
end

-- wrk inspects the first request and does not send it.
local is_sent = false

function request()
  if not is_sent then
    is_sent = true
    return read()
  end
  return ten[random(10)]()
end

function response(status, headers, body)
  if status >= 300 then
    io.stderr:write(format("soak: %d: %s\n", status, body))
  end
end
