-- The programs in doc/, run: each prints what stands below it.

local helper = require('spec.helper')
local program = require('spec.support.program')

for _, path in ipairs({ 'doc/handshake.md', 'doc/operation.md', 'doc/session.md' }) do
  describe(path, function ()
    local text = helper.read(path)

    after_each(function ()
      program.stopAll()
      helper.run()
    end)

    for code, output in text:gmatch('```lua\n(.-)```\n+```text\n(.-)```') do
      local line = select(2, text:sub(1, (text:find(code, 1, true))):gsub('\n', '\n')) + 1
      it('has a program at line ' .. line .. ' that prints what it says', function ()
        local child = program.start('luajit', { '-e', code }, {
          LUA_PATH = package.path, LUA_CPATH = package.cpath,
        })
        child:waitForEnd()
        assert.equal(output, child.output)
      end)
    end
  end)
end
