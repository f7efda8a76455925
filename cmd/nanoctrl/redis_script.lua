-- SPDX-License-Identifier: BSD-3-Clause
-- nanoctrl/redis_script.lua - requests to the store, each done by Redis as a whole or not at all.
--
-- First all operations of a request are checked, on what is there and on what those before them
-- will do; then they are done. Redis does not roll back, so nothing may fail in the second half: the
-- first command there takes a revision, and fails if there is no memory.
--
-- What costs is the call into Redis, and here numbers that become text: so numbers stay text, time
-- and revisions are fetched once for all requests of a run, and what comes most often, a heartbeat
-- and an entity that registers again, is done without the general way.
--
-- Redis 7 keeps it as a library of functions, so that only main() is run for a request; an older one
-- runs the whole of it each time. It is one program in three files, which the build joins: this one,
-- redis_records.lua, redis_verbs.lua.
--
-- A record is a hash, its side, under a name without ':'; no key of the reference has such a name.
-- Records of the reference's classes have their value where the reference has it, and the side says
-- whose it is: i identity, k kind, o owner, r revision, b born, t TTL, a time of the change, v value
-- (or what the reference's hash has no field for), p the parent's side. Beside it: /children and,
-- of those, /mortal with a TTL; /messages of a box; /alive, whose time is the record's time, if the
-- reference's key is not there for that.

local call, attempt, format -- not there while a library is loaded
local ROOT = 'nanoctrl/'
local REVISION, EVENTS = ROOT .. 'revision', ROOT .. 'events'
local DEADLINES, POPULATIONS = ROOT .. 'deadlines', ROOT .. 'populations'
local EVENTS_KEPT, STREAM_KEPT, FOREIGN_TTL = '65536', '1000', '60000'

-- Of the run at hand.
local args, at
local time, now_ms, now_s
local ahead, last, reserved -- how many revisions at once; the last one taken, and that may be
-- Of the request at hand.
local states, claimed, gone = {}, {}, {} -- what is there and will be, by identity
local done = {} -- by identity: what has been written; false: deleted

local function begin(argv, requests)
	call, attempt, format = redis.call, redis.pcall, string.format
	args, at, ahead, last, reserved, time = argv, 0, requests, 0, 0, nil
end

local function begin_request()
	states, claimed, gone, done = {}, {}, {}, {}
end

local function look_at_clock()
	if not time then
		time = call('TIME')
		now_ms = format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
		now_s = time[1]
	end
end

local function arg()
	at = at + 1
	return args[at]
end

-- Now and so many ms, as text.
local function later(ms)
	return format('%d', now_ms + ms)
end

-- Names of keys.

local codes = { ['%'] = '%25', [':'] = '%3A', ['/'] = '%2F' }
local function encode(name)
	return name == '' and '' or (name:gsub('[%%:/]', codes))
end

local function prefix(scope)
	return scope == '' and '' or scope .. ':'
end

local middles = { a = 'agent:', t = 'spec:topology:', s = 'stream:', i = 'inbox:', o = 'obs:peer:' }
local types = { e = 'hash', a = 'hash', m = 'string', t = 'string', o = 'string', s = 'stream', i = 'list' }
local records = { e = true, a = true, m = true, t = true, o = true, b = true, l = true }

-- Where the reference has it; nil: it has no such thing.
local function outside(class, scope, type, id)
	if class == 'e' then
		return prefix(scope) .. type .. ':' .. id
	elseif class == 'm' then
		return prefix(scope) .. 'mr:' .. type .. ':' .. id
	elseif middles[class] then
		return prefix(scope) .. middles[class] .. id
	end
end

local function key_of(class, scope, type, id)
	local k = { class = class, scope = scope, type = type, id = id }
	k.identity = class .. scope .. '\0' .. type .. '\0' .. id
	k.outside = outside(class, scope, type, id)
	if k.outside then
		k.side = ROOT .. 'r/' .. encode(k.outside)
		k.alive = k.outside
	else
		k.side = ROOT .. class .. '/' .. encode(scope) .. '/' .. encode(type) .. '/' .. encode(id)
		k.alive = k.side .. '/alive'
	end
	return k
end

-- Where records are listed, and as what.
local function index_of(k)
	return ROOT .. 'index/' .. k.class .. '/' .. encode(k.scope)
end

local function member_of(k)
	return k.type .. '\0' .. k.id
end

-- Revisions, which are whole numbers below 2^53, as text: Lua's own conversion rounds beyond 14
-- digits. The first call of a run fails if there is no memory, and then nothing has been done.
local function reserve()
	if last < reserved then
		return
	end
	local n = call('INCRBY', REVISION, ahead)
	-- After a loss of all data revisions still grow.
	if n == ahead then
		look_at_clock()
		n = n + time[1] * 1000000 + time[2]
		call('SET', REVISION, format('%d', n))
	end
	last, reserved = n - ahead, n
end

local function revise()
	reserve()
	last = last + 1
	return format('%d', last)
end

-- Of the latest change.
local function revision()
	return reserved > 0 and format('%d', last) or call('GET', REVISION) or '0'
end

local function key_of_identity(identity)
	local class, scope, type, id = identity:match('^(.)(%Z*)%z(%Z*)%z(%Z*)$')
	return key_of(class, scope, type, id)
end

local function kind_index(k, kind)
	return index_of(k) .. '/' .. encode(kind)
end

local function arg_key()
	local class, scope, type, id = arg(), arg(), arg(), arg()
	if class ~= '' then
		return key_of(class, scope, type, id)
	end
end

-- What is there, and what will be.

-- A key of the reference's that nobody here has written. 'clash': it is something else.
local function look_at_foreign(k, type, st)
	local ok = type == types[k.class]
	if ok and k.class == 'e' then
		local who = call('HMGET', k.outside, 'entity_type', 'entity_id')
		ok = who[1] == k.type and who[2] == k.id
	elseif ok and k.class == 'a' then
		local who = call('HMGET', k.outside, 'addr', 'entity_type')
		ok = who[1] and not who[2]
	end
	st.exists, st.clash, st.foreign = ok, not ok, ok
	st.revision, st.born, st.ttl, st.kind = '0', '0', '0', ''
end

local function look(k)
	local st = states[k.identity]
	if st then
		return st
	end
	st = { exists = false }
	states[k.identity] = st
	local side = call('HMGET', k.side, 'i', 'r', 'b', 't', 'k', 'p')
	local type = k.outside and call('TYPE', k.outside).ok
	if type == 'none' or (not type and not side[1]) then
		st.sided = side[1] and true -- it has expired, and nobody was told yet
		return st
	end
	if type and not side[1] then
		look_at_foreign(k, type, st)
		return st
	end
	st.sided = true
	st.exists = side[1] == k.identity and (not type or type == types[k.class])
	st.clash = not st.exists
	if not type and side[4] ~= '0' then
		st.exists = call('EXISTS', k.alive) == 1
	end
	if side[6] and gone[side[6]] then
		st.exists = false
	end
	st.revision, st.born, st.ttl, st.kind = side[2] or '0', side[3] or '0', side[4] or '0', side[5] or ''
	st.parent = side[6] ~= '' and side[6] or nil
	return st
end

-- The word for what is wrong, or nil.
local function unexpected(st, expect, born)
	local number = tonumber(expect)
	if st.exists and number == -1 then
		return 'exists'
	elseif not st.exists and (number == -2 or number > 0 or born ~= '0') then
		return 'absent'
	elseif (number > 0 and expect ~= st.revision) or (born ~= '0' and born ~= st.born) then
		return 'stale'
	end
end

local function bad_parent(parent)
	local st = look(parent)
	return (not st.exists and 'no parent') or (st.parent and 'grandparent') or nil
end

-- Telling.

local function tell(change, revised, identity, kind, born, ttl, value)
	if value then
		call('XADD', EVENTS, 'MAXLEN', '~', EVENTS_KEPT, revised .. '-0', 'c', change, 'i', identity, 'k', kind,
			'b', born, 't', ttl, 'v', value)
	else
		call('XADD', EVENTS, 'MAXLEN', '~', EVENTS_KEPT, revised .. '-0', 'c', change, 'i', identity, 'k', kind,
			'b', born, 't', ttl)
	end
end

-- As the reference tells it: of entities only. WHO: members of JSON, which say who it is.
local function tell_outside(scope, type, name, who, stamp, last_member)
	local meta = call('INCR', prefix(scope) .. 'nano_meta:' .. type .. '_revision')
	call('PUBLISH', prefix(scope) .. 'nano_events:' .. type .. '_update', '{"event_type":"' .. name .. '",' ..
		who .. ',"timestamp":' .. stamp .. ',"revision":' .. format('%d', meta) .. last_member)
end

local function tell_added(scope, type, who, info)
	tell_outside(scope, type, 'ADD', who, now_s, ',"payload":' .. info .. '}')
end

local function tell_removed(k)
	tell_outside(k.scope, k.type, 'REMOVE', '"entity_type":' .. cjson.encode(k.type) .. ',"entity_id":' ..
		cjson.encode(k.id), '"' .. now_s .. '"', '}')
end
