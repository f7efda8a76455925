-- SPDX-License-Identifier: BSD-3-Clause
-- nanoctrl/redis_records.lua - what is done to records and boxes, once all is checked. Goes on where
-- redis_script.lua ends.

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
