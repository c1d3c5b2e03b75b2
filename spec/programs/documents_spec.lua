-- The documents: every command that is printed is run, or says what it needs; every program prints what
-- stands below it; every link leads somewhere.
--
-- A block of sh is run by `bash -eu` from the root of the checkout, as after `make build` and
-- `eval "$(make -s env)"`, with nothing to read, and ends by itself with status 0. Its first line may be
--   `# in one terminal`      it goes on running, and what it prints begins with the text that follows it;
--   `# in another terminal`  it runs meanwhile; when all such have ended, the one gets a Ctrl-C;
--   `# needs: WHAT`          (any line) it takes something that is not here: not run, only read.
-- A block of text directly after one of sh or lua is what that prints: `…` is anything within a line, and on
-- a line of its own any number of lines. The blocks of a document share a directory. A block of lua that no
-- text follows is compiled, `…` standing for anything; `-- a fragment` as its first line spares it that.

local lfs = require('lfs')
local helper = require('spec.helper')
local markdown = require('spec.support.markdown')
local program = require('spec.support.program')
local terminal = require('spec.support.terminal')

-- The second run, with the other transport, has nothing of its own to see here.
if os.getenv('DTLS_TRANSPORT') then return end

-- What a block may take.
local LIMIT = 30000

-- Commands that others run: here they would run themselves, or build for minutes. A pattern, and who runs
-- it, as what must stand in which file.
local ELSEWHERE = {
  { '^make deps$', 'tools/test.sh', 'step make deps' },
  { '^make build$', 'tools/test.sh', 'step make build' },
  { '^make check$', 'tools/test.sh', 'step make check' },
  { '^make test$', 'Makefile', '\ntest:[^\n]*\n\t@tools/test%.sh\n' },
  { '^make deps%-demo$', 'Makefile', '\ndemo: rust deps%-demo ' },
  { '^make demo$', 'spec/programs/examples_spec.lua', "example%('demo%.lua'%)" },
  { '^make luvit%-deps DIR=%S+$', 'spec/programs/luvit_deps_spec.lua', "make%('luvit%-deps', 'DIR=' " },
  { '^make rock$', 'spec/programs/packaging_spec.lua', "sh%('make %-s rock'%)" },
  { '^luarocks .*install %S+%.src%.rock$', 'spec/programs/packaging_spec.lua', ' %-%-tree tree install ' },
  { '^luarocks .*test$', 'spec/programs/packaging_spec.lua', 'luarocks %-%-lua%-version 5%.1 test ' },
  { '^luarocks .*make dtls%-scm%-1%.rockspec$', 'Makefile', '\n\t%$%(LUAROCKS%) [^\n]* make %$%(ROCKSPEC%)' },
  -- It takes twenty minutes, and its figures the machine for itself.
  { '^make bench$', 'bench/results/latest.md', '`make bench' },
  { '^make bench BENCH_FLAGS=%S+$', 'bench/results/latest.md', '`make bench' },
  -- That it can be built is seen.
  { '^make bench%-core$', 'Makefile', '\n\tcargo clippy [^\n]*%$%(BENCH%)[^\n]*%-%-workspace' },
}

-- What nobody could mistake for a command.
local LANGUAGES = { sh = true, lua = true, text = true, json = true, ini = true, [''] = true }

-- The lines of a script that are commands, without the comments behind them.
local function commands(text)
  local list = {}
  for line in text:gmatch('[^\n]+') do
    local command = (' ' .. line):gsub('%s+#.*$', ''):match('^%s*(.-)%s*$')
    if command ~= '' then list[#list + 1] = command end
  end
  return list
end

-- The row of a command that is run elsewhere.
local function elsewhere(command)
  for _, row in ipairs(ELSEWHERE) do
    if command:find(row[1]) then return row end
  end
end

-- Fails where a command is not run by whom its row says.
local function checkElsewhere(text)
  for _, command in ipairs(commands(text)) do
    local row = elsewhere(command)
    if row then assert(helper.read(row[2]):find(row[3]), row[2] .. ' does not run ' .. command) end
  end
end

-- A script without the commands that are run elsewhere.
local function here(text)
  return (text:gsub('[^\n]+', function (line)
    local command = commands(line)[1]
    if command and elsewhere(command) then return '' end
  end))
end

local function title(block)
  local first = commands(block.text)[1] or '…'
  return ('line %d: %s'):format(block.line, #first > 60 and first:sub(1, 60) .. '…' or first)
end

-- Fails where a block has not printed what stands below it.
local function compare(block, output)
  if block.prints and not markdown.matches(block.prints, output) then
    error(('line %d prints\n%s\nand not\n%s'):format(block.line, output, block.prints), 0)
  end
end

local function run(place, block, script, ...)
  local child = place:bash(script, ...)
  child.stdin:shutdown()
  local status = child:waitForEnd(LIMIT)
  if status ~= 0 then
    error(('line %d ends with status %d, having printed\n%s'):format(block.line, status, child.output), 0)
  end
  compare(block, child.output)
end

-- What ran in one terminal while the others ran: it may say more than stands there, and have a moment for it.
local function finish(place, block, child)
  local begun = { line = block.line, prints = block.prints and block.prints .. '…\n' }
  if begun.prints then
    pcall(helper.runUntil, function () return markdown.matches(begun.prints, child.output) end, 2000)
  end
  local status = child.status or 0
  if status ~= 0 then
    error(('line %d ended with status %d, having printed\n%s'):format(block.line, status, child.output), 0)
  end
  place:interrupt()
  child:waitForEnd()
  compare(begun, child.output)
end

-- `…` stands for anything: nothing at all, or a value, whatever makes it a program.
local function compiles(text)
  local at = text:find('…', 1, true)
  if not at then return loadstring(text) end
  local first, err
  for _, instead in ipairs({ ' nil ', '   ', ' a ' }) do
    first, err = compiles(text:sub(1, at - 1) .. instead .. text:sub(at + #'…'))
    if first then return first end
  end
  return nil, err
end

-- Blocks of sh that run together: one, or one terminal and the others.
local function groups(blocks)
  local list = {}
  for _, block in ipairs(blocks) do
    local last = list[#list]
    if block.text:find('^# in another') and last and last.open then
      last[#last + 1] = block
    else
      list[#list + 1] = { block, open = block.text:find('^# in one terminal\n') ~= nil }
    end
  end
  return list
end

describe('what a document says is printed', function ()
  it('is compared line by line, dots standing for anything', function ()
    for _, case in ipairs({
      { 'one\n', 'one\n', true },
      { 'one\n', 'one', true },
      { 'one\n', 'one  \n', true },
      { 'one\n', 'on\n', false },
      { 'one\n', 'one\ntwo\n', false },
      { 'one\ntwo\n', 'one\n', false },
      { 'port … (%d+)\n', 'port 5684 (%d+)\n', true },
      { 'port …\n', 'the port 5684\n', false },
      { 'one\n…\n', 'one\n', true },
      { 'one\n…\n', 'one\ntwo\nthree\n', true },
      { '…\ntwo\n', 'one\ntwo\ntwo\n', true },
      { '…\ntwo\n…\nfour\n', 'one\ntwo\nthree\nfour\n', true },
      { '…\ntwo\n…\nfour\n', 'one\ntwo\nthree\nfive\n', false },
      { 'one\n', '', false },
    }) do
      assert.equal(case[3], markdown.matches(case[1], case[2]), case[1] .. '---\n' .. case[2])
    end
  end)
end)

for _, path in ipairs(markdown.paths()) do
  describe(path, function ()
    local document = markdown.read(path)
    local directory
    local scripts, programs, fragments = {}, {}, {}
    for _, block in ipairs(document.blocks) do
      local kind = block.language == 'sh' and scripts
        or block.language == 'lua' and (block.prints and programs or fragments)
      if kind then kind[#kind + 1] = block end
    end

    after_each(function ()
      program.stopAll()
      helper.run()
    end)
    teardown(function ()
      if directory then terminal.remove(directory) end
    end)

    -- The one directory of the document.
    local function open()
      directory = directory or terminal.directory()
      return terminal.open(directory)
    end

    for _, group in ipairs(groups(scripts)) do
      local names = {}
      for index, block in ipairs(group) do names[index] = title(block) end
      it(table.concat(names, ' | '), function ()
        local first, runs = group[1], {}
        assert(not first.text:find('^# in another'), 'there is no `# in one terminal` before it')
        for _, block in ipairs(group) do
          local syntax = program.start('bash', { '-n', '-c', block.text })
          assert.equal(0, syntax:waitForEnd(), syntax.output)
          checkElsewhere(block.text)
          if not ('\n' .. block.text):find('\n# needs: %S') and commands(here(block.text))[1] then
            runs[#runs + 1] = block
          end
        end
        -- Without the one terminal the others have nobody to talk to.
        if runs[1] ~= first then return end
        if not terminal.possible then return pending('this needs the right to make namespaces') end
        local place = open()
        if not group.open then return run(place, first, here(first.text)) end
        local server = place:background(here(first.text))
        for index = 2, #runs do
          local ok, err = pcall(run, place, runs[index], here(runs[index].text))
          if not ok then
            error(('%s\nwhile line %d printed\n%s'):format(err, first.line, server.output), 0)
          end
        end
        finish(place, first, server)
      end)
    end

    for _, block in ipairs(programs) do
      it(('line %d: a program that prints what it says'):format(block.line), function ()
        run(open(), block, 'luajit -e "$1"', block.text)
      end)
    end

    it('has blocks of languages that are looked at, and of Lua that is Lua', function ()
      for _, block in ipairs(document.blocks) do
        assert(LANGUAGES[block.language],
          ('line %d: a block of %s is looked at by nobody'):format(block.line, block.language))
      end
      for _, block in ipairs(fragments) do
        if not block.text:find('^%-%- a fragment') then
          local chunk, err = compiles(block.text)
          assert(chunk, ('line %d: %s'):format(block.line, err))
        end
      end
    end)

    it('has links that lead somewhere', function ()
      for _, link in ipairs(document.links) do
        local file, anchor = link.target:match('^([^#]*)#?(.*)$')
        if not link.target:find('^%a+:') then
          local target = file == '' and path or (path:match('^(.*/)') or '') .. file
          assert(lfs.attributes(target), ('line %d: there is no %s'):format(link.line, link.target))
          assert(anchor == '' or markdown.read(target).anchors[anchor],
            ('line %d: %s has no such heading'):format(link.line, link.target))
        end
      end
    end)

    it('names only what make can make, and files that are there', function ()
      local makefile = '\n' .. helper.read('Makefile')
      local spans = {}
      for _, span in ipairs(document.spans) do spans[#spans + 1] = span end
      for _, block in ipairs(scripts) do
        for _, command in ipairs(commands(block.text)) do
          spans[#spans + 1] = { line = block.line, text = command }
        end
      end
      for _, span in ipairs(spans) do
        for words in (';' .. span.text:gsub("'.-'", '')):gmatch('[;&|(]%s*make%s([^;&|)]*)') do
          for word in words:gmatch('%S+') do
            assert(not word:find('^%l[%l-]*$') or makefile:find('\n' .. word .. ':', 1, true),
              ('line %d: make does not know %s'):format(span.line, word))
          end
        end
        local top = span.text:match('^(%l+)/[%w_./-]+$')
        if top and lfs.attributes(top) and not markdown.isMade(span.text) then
          assert(lfs.attributes(span.text), ('line %d: there is no %s'):format(span.line, span.text))
        end
      end
    end)
  end)
end
