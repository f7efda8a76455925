-- SPDX-License-Identifier: BSD-3-Clause
-- nanoctrl/redis_verbs.lua - requests: their words, what is wrong with them, and in which order they
-- are run. Goes on where redis_records.lua ends.

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
