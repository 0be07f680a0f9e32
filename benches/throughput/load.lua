-- Sends requests as an SDK does, of the kind that KIND names. Most of each request is made before
-- the first one is sent, so that the load needs little processor time.

local random, format = math.random, string.format
local base = "/v1.0/deviceManagement/deviceConfigurations/01900000-0000-7000-8000-"
local headers = { ["Authorization"] = "Bearer " .. os.getenv("TOKEN"), ["Accept"] = "application/json" }

local kinds = {}

-- Creates with distinct targets on many configurations.
function kinds.create()
  local front = format("%08x-%04x-4000-8%03x-", random(0, 0x7fffffff), random(0, 0xffff), random(0, 0xfff))
  local last = random(0, 0xffffff) * 0x1000000
  local body = '{"@odata.type": "#microsoft.graph.deviceConfigurationAssignment", "target": {'
    .. '"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": "' .. front .. '000000000000"}}'
  headers["Content-Type"] = "application/json"
  local starts = {}
  for n = 1, 1000 do
    starts[n] = wrk.format("POST", format("%s%012d/assignments", base, n), headers, body):sub(1, -16)
  end
  headers["Content-Type"] = nil
  return function()
    last = last + 1
    return starts[random(1000)] .. format('%012x"}}', last)
  end
end

local function gets(path)
  local requests = {}
  for n = 1001, 2000 do
    requests[n - 1000] = wrk.format("GET", path(n), headers)
  end
  return function() return requests[random(1000)] end
end

function kinds.configuration()
  return gets(function(n) return format("%s%012d", base, n) end)
end

function kinds.assignment()
  return gets(function(n) return format("%s%012d/assignments/01900000-0000-7000-9000-%011d5", base, n, n) end)
end

function kinds.list()
  return gets(function(n) return format("%s%012d/assignments", base, n) end)
end

function kinds.mixed()
  local create, configuration, assignment, list = kinds.create(), kinds.configuration(), kinds.assignment(), kinds.list()
  local ten = { create, list, configuration, configuration, configuration, configuration, assignment, assignment, assignment, assignment }
  return function() return ten[random(10)]() end
end

function init()
  -- A random seed, so that no two runs write the same targets.
  local seed = io.open("/dev/urandom", "rb")
  local a, b, c, d = seed:read(4):byte(1, 4)
  seed:close()
  math.randomseed(((a * 256 + b) * 256 + c) * 256 + d)
  request = kinds[os.getenv("KIND")]()
end
