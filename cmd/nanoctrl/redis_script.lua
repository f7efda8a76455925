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
-- runs the whole of it each time.
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

-- Doing.

local function value_of(k, v)
	if k.class == 'e' then
		return attempt('HGET', k.outside, 'info')
	elseif k.class == 'a' then
		return attempt('HGETALL', k.outside)
	elseif k.outside then
		return attempt('GET', k.outside)
	end
	return v
end

local function text_of(k, v)
	local value = value_of(k, v)
	return type(value) == 'string' and value or nil
end

-- Delete what has this side, children first. The revision, or nil if it is not there.
local function remove(side, change, quiet)
	local h = call('HMGET', side, 'i', 'k', 'b', 't', 'v', 'p')
	if not h[1] then
		return
	end
	local k = key_of_identity(h[1])
	for _, child in ipairs(call('SMEMBERS', side .. '/children')) do
		remove(child, change)
	end
	local value = text_of(k, h[5])
	if k.outside and call('TYPE', k.outside).ok == types[k.class] then
		call('DEL', k.outside)
	end
	call('DEL', side, side .. '/children', side .. '/mortal', side .. '/messages', side .. '/alive')
	call('ZREM', DEADLINES, side)
	if records[k.class] then
		call('ZREM', index_of(k), member_of(k))
		if h[2] and h[2] ~= '' then
			call('ZREM', kind_index(k, h[2]), member_of(k))
		end
		if call('EXISTS', index_of(k)) == 0 then
			call('SREM', POPULATIONS, k.class .. k.scope)
		end
	end
	if h[6] and h[6] ~= '' then
		call('SREM', h[6] .. '/children', side)
		call('SREM', h[6] .. '/mortal', side)
	end
	local revised = revise()
	if k.class == 'e' then
		tell_removed(k)
	end
	if not quiet then
		tell(change, revised, k.identity, h[2] or '', h[3] or '0', h[4] or '0', value)
	end
	return revised
end

local function join_parent(k, parent, old, mortal)
	if old and old ~= parent then
		call('SREM', old .. '/children', k.side)
		call('SREM', old .. '/mortal', k.side)
	end
	if parent then
		call('SADD', parent .. '/children', k.side)
		call(mortal and 'SADD' or 'SREM', parent .. '/mortal', k.side)
	end
end

-- The side and what is found by it. W: kind, owner, ttl, revision, born, v, parent.
local function write_side(k, old, w)
	call('HSET', k.side, 'i', k.identity, 'k', w.kind, 'o', w.owner, 'r', w.revision, 'b', w.born,
		't', w.ttl, 'a', now_ms, 'v', w.v, 'p', w.parent or '')
	local listed = old and not old.foreign
	if not listed and call('ZADD', index_of(k), '0', member_of(k)) == 1 then
		call('SADD', POPULATIONS, k.class .. k.scope)
	end
	if not listed or old.kind ~= w.kind then
		if old and old.kind ~= '' then
			call('ZREM', kind_index(k, old.kind), member_of(k))
		end
		if w.kind ~= '' then
			call('ZADD', kind_index(k, w.kind), '0', member_of(k))
		end
	end
	if w.parent or (old and old.parent) then
		join_parent(k, w.parent, old and old.parent, w.ttl ~= '0')
	end
	-- What is due too early is looked at and put off, so the same TTL needs no new deadline.
	if listed and old.ttl == w.ttl then
		return
	elseif w.ttl ~= '0' then
		call('ZADD', DEADLINES, later(w.ttl), k.side)
	elseif listed then
		call('ZREM', DEADLINES, k.side)
	end
end

local function write_outside(k, old, w)
	if k.class == 'e' then
		local f = w.fields
		call('HSET', k.outside, 'entity_type', k.type, 'entity_id', k.id, 'kind', w.kind, 'endpoint', f[1],
			'metadata', f[2], 'resource', f[3], 'info', w.value)
	elseif k.class == 'a' then
		if old then -- not all of its fields are always there
			call('DEL', k.outside)
		end
		call('HSET', k.outside, unpack(w.fields))
	else
		call('SET', k.outside, w.value)
	end
	if w.ttl ~= '0' then
		call('PEXPIRE', k.outside, w.ttl)
	end
end

local function was(k, st)
	local w = done[k.identity]
	if w == nil and st.before then
		return st.before
	end
	return w or nil
end

local function remember(st)
	if st.before == nil then
		st.before = st.exists and { kind = st.kind, parent = st.parent, ttl = st.ttl, born = st.born,
			foreign = st.foreign } or false
	end
end

local function put(k, st, w)
	local old = was(k, st)
	if not old and st.sided then
		remove(k.side, 'x')
	end
	w.revision = revise()
	w.born = old and old.born or w.revision
	if k.outside then
		write_outside(k, old, w)
	elseif w.ttl ~= '0' then
		call('SET', k.alive, '1', 'PX', w.ttl)
	else
		call('DEL', k.alive)
	end
	write_side(k, old, w)
	done[k.identity] = w
	if k.class == 'e' then
		tell_added(k.scope, k.type, w.fields[4], w.value)
	end
	if not w.quiet then
		tell('p', w.revision, k.identity, w.kind, w.born, w.ttl, w.value)
	end
	return { old and 1 or 0, w.revision }
end

local function delete(k, st, quiet)
	done[k.identity] = false
	local revised = remove(k.side, 'd', quiet)
	if not revised and st.foreign then
		call('DEL', k.outside)
		revised = revise()
		if k.class == 'e' then
			tell_removed(k)
		end
		if not quiet then
			tell('d', revised, k.identity, '', '0', '0')
		end
	end
	return { 1, revised or '0' }
end

-- Somebody else's daemon wrote it; from now on it is listed and its end is told.
local function adopt(k)
	local revised = revise()
	local kind = k.class == 'e' and call('HGET', k.outside, 'kind') or ''
	write_side(k, nil, { kind = kind, owner = '', ttl = FOREIGN_TTL, revision = revised, born = revised, v = '{}' })
	tell('p', revised, k.identity, kind, revised, FOREIGN_TTL, text_of(k))
	return FOREIGN_TTL
end

local function touch(k, st, once)
	local w = done[k.identity]
	local ttl = w and w.ttl or st.ttl
	if st.foreign and not w and (k.class == 'e' or k.class == 'a') then
		ttl = adopt(k)
	end
	if once ~= '0' then
		if ttl == '0' or tonumber(once) < tonumber(ttl) then
			call('ZADD', DEADLINES, later(once), k.side)
		end
		ttl = once
	end
	if ttl ~= '0' then
		call('PEXPIRE', k.alive, ttl)
	end
	for _, child in ipairs(call('SMEMBERS', k.side .. '/mortal')) do
		local h = call('HMGET', child, 'i', 't')
		if h[1] then
			call('PEXPIRE', key_of_identity(h[1]).alive, h[2])
		end
	end
	return { 1, '0' }
end

-- nil: it is not there.
local function row_of(k)
	local h = call('HMGET', k.side, 'i', 'k', 'o', 'r', 'b', 't', 'a', 'v')
	local value = value_of(k, h[8])
	if not value or value.err or (h[1] and h[1] ~= k.identity) or (k.class == 'a' and #value == 0) then
		return
	end
	if not k.outside and h[6] ~= '0' and call('EXISTS', k.alive) == 0 then
		return
	end
	return { k.class, k.scope, k.type, k.id, h[2] or '', h[3] or '', h[4] or '0', h[5] or '0', h[6] or '0',
		h[7] or '0', h[8] or '', value }
end

local function list(k, w)
	local key = w.by_kind and kind_index(k, w.kind) or index_of(k)
	local rows, limit, last = {}, tonumber(w.limit), w.behind
	local low = w.behind ~= '' and '(' .. w.behind or w.by_type and '[' .. k.type .. '\0' or '-'
	local high = w.by_type and '(' .. k.type .. '\1' or '+'
	while #rows < limit do
		local members = call('ZRANGEBYLEX', key, low, high, 'LIMIT', 0, limit - #rows)
		for _, member in ipairs(members) do
			local type, id = member:match('^(%Z*)%z(%Z*)$')
			rows[#rows + 1] = row_of(key_of(k.class, k.scope, type, id))
			last = member
		end
		if #members == 0 then
			return { 0, revision(), rows, '' }
		end
		low = '(' .. last
	end
	return { 0, revision(), rows, last }
end

local function append(k, st, w)
	local old, revised
	if not k.outside then
		old = was(k, st)
		if not old then
			remove(k.side, 'x')
		end
	end
	revised = revise()
	if k.class == 's' then
		call('XADD', k.outside, 'MAXLEN', '~', STREAM_KEPT, '*', unpack(w.fields))
	elseif k.class == 'i' then
		call('LPUSH', k.outside, w.value)
	else
		if not old then
			w.kind, w.owner, w.ttl, w.revision, w.born, w.v = '', '', '0', revised, revised, '{}'
			write_side(k, nil, w)
			done[k.identity] = w
		end
		call('XADD', k.side .. '/messages', revised .. '-0', 'v', w.value, 'a', now_ms)
		call('HINCRBY', k.side, 'z', #w.value)
	end
	if k.outside then
		call('HSET', k.side, 'i', k.identity)
	end
	tell('a', revised, k.identity, '', '0', '0', w.value)
	return { st.exists and 1 or 0, revised }
end

local function read(k, st, w)
	local found = call('XRANGE', k.side .. '/messages', w.behind .. '-1', '+', 'COUNT', w.limit)
	local rows, bytes, most = {}, 0, tonumber(w.bytes)
	for _, message in ipairs(found) do
		local value = message[2][2]
		rows[#rows + 1] = { k.class, k.scope, k.type, k.id, '', '', message[1]:match('^%d+'), '0', '0',
			message[2][4], '', value }
		bytes = bytes + #value
		if most > 0 and bytes >= most then
			break
		end
	end
	return { call('EXISTS', k.side), '0', rows }
end

local function trim(k, position)
	local bytes = 0
	for _, message in ipairs(call('XRANGE', k.side .. '/messages', '-', position .. '-0')) do
		bytes = bytes + #message[2][2]
		call('XDEL', k.side .. '/messages', message[1])
	end
	if bytes > 0 then
		call('HINCRBY', k.side, 'z', -bytes)
	end
	return { call('EXISTS', k.side), '0' }
end

local function census()
	local rows, populations = {}, call('SMEMBERS', POPULATIONS)
	table.sort(populations)
	for _, population in ipairs(populations) do
		local class, scope = population:sub(1, 1), population:sub(2)
		local n = call('ZCARD', index_of(key_of(class, scope, '', '')))
		rows[#rows + 1] = { class, scope, '', '', '', '', n, '0', '0', '0', '', '' }
	end
	return { 0, '0', rows }
end

-- What is due: some of it was touched since. How many have been looked at, and when to look again.
local function sweep(limit)
	local due = call('ZRANGEBYSCORE', DEADLINES, '-inf', now_ms, 'LIMIT', 0, limit)
	for _, side in ipairs(due) do
		local identity = call('HGET', side, 'i')
		local left = identity and call('PTTL', key_of_identity(identity).alive)
		if not left or left == -1 then
			call('ZREM', DEADLINES, side)
		elseif left > 0 then
			call('ZADD', DEADLINES, later(left), side)
		else
			remove(side, 'x')
		end
	end
	return { #due }
end

-- What agents of the reference have left for one that is gone, and what they have not told of: a
-- part of all keys is looked at each time. The cursor, '0' at the end.
local function purge(cursor, scope, id)
	local regions, from, to = prefix(scope) .. 'mr:' .. id .. ':', prefix(scope) .. 'exchange:', ':' .. id
	local own = from .. id .. ':'
	local found = call('SCAN', cursor, 'COUNT', 1000)
	for _, key in ipairs(found[2]) do
		local region = key:sub(1, #regions) == regions
		if region or (key:sub(1, #from) == from and (key:sub(1, #own) == own or key:sub(-#to) == to)) then
			local side = ROOT .. 'r/' .. encode(key)
			local owner = call('HGET', side, 'i')
			if not owner then
				call('DEL', key)
			elseif region and key_of_identity(owner).type == id then
				remove(side, 'd')
			end
		end
	end
	return { found[1] }
end

-- One for each verb: reads its arguments and checks, and returns what is wrong, or what to do.
local verbs = {}

local function arg_fields()
	local fields = {}
	for i = 1, tonumber(arg()) do
		fields[i] = arg()
	end
	return fields
end

function verbs.G(k, expect, born)
	local st = look(k)
	local wrong = unexpected(st, expect, born)
	local exists = st.exists
	return wrong, function()
		local row = exists and row_of(k)
		return { row and 1 or 0, '0', { row or nil } }
	end
end

function verbs.P(k, expect, born)
	local w = { kind = arg(), owner = arg(), ttl = arg(), quiet = arg() == '1' }
	local parent = arg_key()
	w.value, w.v, w.fields = arg(), arg(), arg_fields()
	w.parent = parent and parent.side
	local st = look(k)
	local wrong = unexpected(st, expect, born)
	if not wrong and (st.clash or (claimed[k.side] or k.identity) ~= k.identity) then
		wrong = 'clash'
	end
	wrong = wrong or (parent and bad_parent(parent))
	if not wrong and parent and st.exists and call('EXISTS', k.side .. '/children') == 1 then
		wrong = 'parent'
	end
	remember(st)
	claimed[k.side] = k.identity
	if not st.exists then
		st.exists, st.born = true, ''
	end
	st.revision, st.parent = '', w.parent
	return wrong, function()
		return put(k, st, w)
	end
end

function verbs.D(k, expect, born)
	local quiet = arg() == '1'
	local st = look(k)
	local wrong = unexpected(st, expect, born)
	local exists = st.exists
	remember(st)
	st.exists, gone[k.side] = false, true
	if exists then
		st.clash, claimed[k.side] = false, nil
	end
	return wrong, function()
		return exists and delete(k, st, quiet) or { 0, '0' }
	end
end

function verbs.T(k, expect, born)
	local once = arg()
	local st = look(k)
	local wrong = unexpected(st, expect, born)
	local exists = st.exists
	return wrong, function()
		return exists and touch(k, st, once) or { 0, '0' }
	end
end

function verbs.L(k)
	local w = { by_type = arg() == '1', by_kind = arg() == '1', kind = arg(), behind = arg(), limit = arg() }
	return nil, function()
		return list(k, w)
	end
end

-- The box as it will be: st.n messages, st.bytes.
local function full(k, st, w)
	if not st.n then
		st.n = call('XLEN', k.side .. '/messages')
		st.bytes = tonumber(call('HGET', k.side, 'z') or '0')
	end
	if not st.exists then
		st.n, st.bytes = 0, 0
	end
	if (w.limit > 0 and st.n >= w.limit) or (w.most > 0 and st.bytes + #w.value > w.most) then
		return 'full'
	end
	st.n, st.bytes = st.n + 1, st.bytes + #w.value
end

function verbs.A(k)
	local parent = arg_key()
	local w = { limit = tonumber(arg()), most = tonumber(arg()), value = arg(), fields = arg_fields() }
	local st = look(k)
	local wrong = (parent and bad_parent(parent)) or (st.clash and 'clash') or nil
	w.parent = parent and parent.side
	remember(st)
	if not k.outside then
		wrong = wrong or full(k, st, w)
		st.exists = true
	end
	return wrong, function()
		return append(k, st, w)
	end
end

function verbs.R(k)
	local w = { behind = arg(), limit = arg(), bytes = arg() }
	local st = look(k)
	return nil, function()
		return read(k, st, w)
	end
end

function verbs.Z(k)
	local position = arg()
	return nil, function()
		return trim(k, position)
	end
end

function verbs.C(k)
	return nil, function()
		return { 0, call('ZCARD', index_of(k)) }
	end
end

function verbs.N(k)
	local key = prefix(k.scope) .. k.id
	local type = call('TYPE', key).ok
	return type ~= 'none' and type ~= 'string' and 'clash' or nil, function()
		return { 0, call('INCR', key) }
	end
end

function verbs.S()
	return nil, census
end

-- The heartbeat, which comes far more often than all else, alone and without expectations. A: where
-- it stands in the arguments. nil: it is not that simple.
local function beat(argv, a)
	if argv[a + 8] .. argv[a + 9] .. argv[a + 10] ~= '000' then
		return
	end
	local k = key_of(argv[a + 4], argv[a + 5], argv[a + 6], argv[a + 7])
	local side = call('HMGET', k.side, 'i', 't')
	if side[1] == k.identity and side[2] ~= '0' and call('EXISTS', k.side .. '/mortal') == 0 and
		(not k.outside or call('TYPE', k.outside).ok == types[k.class]) and
		call('PEXPIRE', k.alive, side[2]) == 1 then
		return { 'ok', { { 1, '0' } } }
	end
end

-- Likewise an entity that registers again, by the same owner: nothing of how it is found changes.
local function renew(argv, a)
	local scope, type, id, kind, ttl = argv[a + 5], argv[a + 6], argv[a + 7], argv[a + 10], argv[a + 12]
	if argv[a + 4] ~= 'e' or ttl == '0' or argv[a + 8] .. argv[a + 9] .. argv[a + 13] .. argv[a + 14] ~= '000' then
		return
	end
	local identity, outside = 'e' .. scope .. '\0' .. type .. '\0' .. id, prefix(scope) .. type .. ':' .. id
	local side, info = ROOT .. 'r/' .. encode(outside), argv[a + 18]
	local h = call('HMGET', side, 'i', 'k', 'o', 't', 'p', 'b')
	if h[1] ~= identity or h[2] ~= kind or h[3] ~= argv[a + 11] or h[4] ~= ttl or h[5] ~= '' then
		return
	end
	reserve()
	local added = attempt('HSET', outside, 'entity_type', type, 'entity_id', id, 'kind', kind, 'endpoint',
		argv[a + 21], 'metadata', argv[a + 22], 'resource', argv[a + 23], 'info', info)
	if added == 7 and call('HLEN', outside) == 7 then -- it had expired
		call('DEL', outside)
		return
	elseif tonumber(added) == nil then -- it is no hash
		return
	end
	look_at_clock()
	call('PEXPIRE', outside, ttl)
	local revised = revise()
	call('HSET', side, 'r', revised, 'a', now_ms)
	tell_added(scope, type, argv[a + 24], info)
	tell('p', revised, identity, kind, h[6], ttl, info)
	return { 'ok', { { 1, revised } } }
end

local shortcuts = { T = beat, P = renew }

local function run()
	local todo, writes = {}, arg() == '1'
	look_at_clock()
	begin_request()
	for i = 1, tonumber(arg()) do
		local verb = arg()
		local k = arg_key()
		local wrong, work = verbs[verb](k, arg(), arg())
		if wrong then
			return { wrong, i - 1 }
		end
		todo[i] = work
	end
	if writes then
		reserve()
	end
	local results = {}
	for i, work in ipairs(todo) do
		results[i] = work()
	end
	return { 'ok', results }
end

-- The request that begins behind A.
local function run_at(argv, a)
	local shortcut = argv[a + 2] == '1' and shortcuts[argv[a + 3]]
	local answer = shortcut and shortcut(argv, a)
	if not answer then
		at = a
		answer = run()
	end
	return answer
end

-- How many requests, and each behind the number of its words. Each has its own answer: what fails
-- in one, which is not to be, is not taken for the failure of all.
local function main(argv)
	local n = tonumber(argv[1])
	begin(argv, n or 1)
	if argv[1] == 'sweep' then
		look_at_clock()
		return sweep(argv[2])
	elseif argv[1] == 'purge' then
		look_at_clock()
		return purge(argv[2], argv[3], argv[4])
	end
	local answers, a = {}, 1
	for i = 1, n do
		local words = tonumber(argv[a + 1])
		local fine, answer = pcall(run_at, argv, a + 1)
		if not fine and type(answer) ~= 'table' then
			answer = { err = tostring(answer) }
		end
		answers[i], a = answer, a + 1 + words
	end
	return answers
end

if not redis.register_function then
	return main(ARGV)
end
-- LIBRARY is what the daemon calls it. Without memory, what only reads, beats or sweeps goes on.
local function called(_, argv)
	return main(argv)
end
redis.register_function(LIBRARY, called)
redis.register_function({ function_name = LIBRARY .. '_frugal', callback = called, flags = { 'allow-oom' } })
