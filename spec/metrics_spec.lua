-- dtls/metrics, and examples/metrics.lua, scraped as Prometheus would.

local dtls = require('dtls')
local helper = require('spec.helper')
local metrics = require('dtls/metrics')
local program = require('spec.support.program')
local uv = helper.uv

-- What an HTTP server sends until it closes the connection, and after how many milliseconds it does.
local function exchange(port, bytes)
  local client, heard, begin, over = uv.new_tcp(), '', uv.hrtime(), false
  client:connect('127.0.0.1', port, function (err)
    assert(not err, err)
    if bytes then client:write(bytes) end
    client:read_start(function (_, data)
      if data then
        heard = heard .. data
      else
        over = true
        client:close()
      end
    end)
  end)
  helper.runUntil(function () return over end)
  return heard, (uv.hrtime() - begin) / 1e6
end

local function get(port, path)
  local heard = exchange(port, ('GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n'):format(path))
  local status, head, body = heard:match('^HTTP/1%.1 (%d%d%d) [^\r\n]+\r\n(.-\r\n)\r\n(.*)$')
  assert.equal(#body, tonumber(head:match('Content%-Length: (%d+)\r\n')))
  assert.truthy(head:find('Connection: close\r\n', 1, true))
  return tonumber(status), body, head:match('Content%-Type: ([^\r\n]+)\r\n')
end

-- Reads the text format 0.0.4 and lets nothing pass that it does not allow: a map from each sample, as it is
-- written, to its value.
local function parse(text)
  local samples, types, helps, current = {}, {}, {}, nil
  assert.equal('\n', text:sub(-1), 'the last line has no end')
  for line in text:gmatch('(.-)\n') do
    local comment, name, rest = line:match('^# (%u+) ([%a_:][%w_:]*) (.+)$')
    if comment == 'HELP' then
      assert.is_nil(helps[name], line)
      assert.is_nil(rest:gsub('\\[\\n]', ''):find('\\'), line)
      helps[name], current = rest, name
    elseif comment == 'TYPE' then
      assert.equal(current, name)
      assert.is_nil(types[name], line)
      assert.truthy(({ counter = true, gauge = true, summary = true })[rest], line)
      if rest == 'counter' then assert.truthy(name:find('_total$'), name) end
      types[name] = rest
    else
      local sample, value = line:match('^(%S.*) (%d+%.?%d*)$')
      assert.truthy(sample, line)
      local labels
      name, labels = sample:match('^([%a_:][%w_:]*)(.*)$')
      if labels ~= '' then
        local set = labels:gsub('\\[\\"n]', ''):match('^{(.*)}$')
        assert.equal('', ((set .. ','):gsub('[%a_][%w_]*="[^"\\]*",', '')), line)
      end
      local family = types[current] == 'summary' and name:gsub('_sum$', ''):gsub('_count$', '') or name
      assert.equal(current, family, 'a sample apart from its family')
      assert.is_nil(samples[sample], 'twice: ' .. sample)
      samples[sample] = tonumber(value)
    end
  end
  for name in pairs(helps) do assert.truthy(types[name], name) end
  return samples
end

describe('metrics.exposition', function ()
  local server = dtls.createEndpoint()
  teardown(function () helper.finish(server) end)

  -- Counters of which no two are the same, and how often each number is there.
  local function counters(first)
    local stats, numbers = server:stats(), {}
    for name, value in pairs(stats) do
      first = first + 1000
      if type(value) == 'table' then value.some, numbers[name] = first, first end
      if type(value) == 'number' then stats[name], numbers[name] = first, first end
    end
    return stats, numbers
  end

  it('has every counter of an endpoint', function ()
    local stats, numbers = counters(0)
    -- These are the sums of what is told by cause and by error.
    numbers.refused, numbers.failed = nil, nil
    numbers.roundTripSum = numbers.roundTripSum / 1000
    local told = {}
    for _, value in pairs(parse(metrics.exposition(stats))) do told[value] = true end
    for name, number in pairs(numbers) do assert.is_true(told[number], name) end
  end)

  it('tells several endpoints apart by a label', function ()
    local one, other = counters(0), counters(100)
    local samples = parse(metrics.exposition({ lamps = one, ['the "doors"\n\\'] = other }, 'endpoint'))
    assert.equal(one.sessions, samples['dtls_sessions{endpoint="lamps"}'])
    assert.equal(other.sessions, samples['dtls_sessions{endpoint="the \\"doors\\"\\n\\\\"}'])
    assert.equal(one.drops.some, samples['dtls_dropped_datagrams_total{cause="some",endpoint="lamps"}'])
    assert.equal(one.roundTrips, samples['dtls_handshake_round_trip_seconds_count{endpoint="lamps"}'])
    assert.same({}, parse(metrics.exposition({}, 'endpoint')))
  end)

  it('raises where it is misused, at the caller\'s line', function ()
    for expected, arguments in pairs({
      ['stats must be a table, got nil'] = {},
      ['stats must be what endpoint:stats%(%) returns'] = { {} },
      ['stats must be what endpoint:stats%(%) returns '] = { { lamps = 5 }, 'endpoint' },
      ['the names must be strings'] = { { server:stats() }, 'endpoint' },
      ['label must be letters, digits and underscores'] = { { lamps = server:stats() }, 'end-point' },
      ['the label cause is taken'] = { { lamps = server:stats() }, 'cause' },
    }) do
      local ok, err = pcall(function () return (metrics.exposition(unpack(arguments, 1, 2))) end)
      assert.is_false(ok)
      assert.matches('^spec/metrics_spec%.lua:%d+: metrics%.exposition: ' .. expected:gsub(' $', ''), err)
    end
  end)
end)

describe('the metrics example', function ()
  local server, port, http

  setup(function ()
    server = program.start('luajit', { 'examples/metrics.lua', '127.0.0.1', 0, 0 }, {
      LUA_PATH = package.path, LUA_CPATH = package.cpath, DTLS_LOG = '',
    })
    http = tonumber((server:waitFor('metrics on http://127%.0%.0%.1:(%d+)/metrics')))
    port = tonumber((server:waitFor('listening on .- port (%d+)')))
  end)
  teardown(function ()
    program.stopAll()
    helper.run()
  end)

  it('shows what sessions do, in the text format of Prometheus', function ()
    local status, body, kind = get(http, '/metrics')
    assert.same({ 200, 'text/plain; version=0.0.4' }, { status, kind })
    local before = parse(body)
    local session = helper.connect(port, { rejectUnauthorized = false })
    local heard = helper.record(session, 'message')
    session:on('secureConnection', function () session:send('hello') end)
    helper.runUntil(function () return heard[1] end)
    local refused = helper.connect(port)
    local failed = helper.record(refused, 'error')
    helper.runUntil(function () return failed[1] end)
    local junk = uv.new_udp()
    junk:try_send('junk', '127.0.0.1', port)
    junk:close()
    local after
    helper.runUntil(function ()
      after = parse(select(2, get(http, '/metrics?name=ignored')))
      return after['dtls_dropped_datagrams_total{cause="malformed"}'] == 1
        and after['dtls_handshakes_failed_total{error="EUNKNOWNCA"}'] == 1
    end)
    for sample, value in pairs({
      dtls_sessions = 1, dtls_admitted_total = 2, dtls_handshakes_completed_total = 1,
      dtls_received_messages_total = 1, dtls_sent_messages_total = 1, dtls_cookies_sent_total = 2,
      dtls_handshake_round_trip_seconds_count = 1,
    }) do
      assert.equal(value, after[sample], sample)
    end
    assert.is_true(after.dtls_handshake_round_trip_seconds_sum < 1)
    for sample, value in pairs(before) do assert.is_true(after[sample] >= value, sample) end
    session:destroy()
  end)

  it('has nothing else to show', function ()
    assert.equal(404, (get(http, '/')))
    assert.equal(404, (get(http, '/metrics/more')))
    assert.matches('^HTTP/1%.1 404 ', (exchange(http, 'POST /metrics HTTP/1.1\r\n\r\n')))
    assert.matches('^HTTP/1%.1 404 ', (exchange(http, 'junk\r\n\r\n')))
  end)

  it('cuts off who sends too much', function ()
    local heard = exchange(http, ('x'):rep(9000))
    assert.equal('', heard)
    assert.equal(200, (get(http, '/metrics')))
  end)

  it('cuts off who sends nothing', function ()
    local heard, took = exchange(http)
    assert.equal('', heard)
    assert.is_true(took > 1500 and took < 4500)
  end)

  it('survives who does not wait for the answer', function ()
    local client, connected, gone = uv.new_tcp(), false, false
    client:connect('127.0.0.1', http, function () connected = true end)
    helper.runUntil(function () return connected end)
    -- Who came later has been served, so this one is known there.
    get(http, '/metrics')
    server:kill('sigstop')
    client:write('GET /metrics HTTP/1.1\r\n\r\n')
    client:shutdown(function () client:close_reset(function () gone = true end) end)
    helper.runUntil(function () return gone end)
    server:kill('sigcont')
    assert.equal(200, (get(http, '/metrics')))
  end)

  it('ends at an interrupt, whoever is connected', function ()
    local client = uv.new_tcp()
    local heard = false
    client:connect('127.0.0.1', http, function ()
      client:read_start(function (_, data) heard = heard or not data end)
      server:kill('sigint')
    end)
    assert.equal(0, server:waitForEnd())
    helper.runUntil(function () return heard end)
    client:close()
  end)
end)
