-- What the README and the page of errors list, compared with what there is.

local helper = require('spec.helper')
local options = require('dtls/options')

local readme = helper.read('README.md')
local errors = helper.read('doc/errors.md')

describe('the README', function ()
  it('refers to a page that names every error', function ()
    assert.truthy(readme:find('(doc/errors.md)', 1, true))
    for name in helper.read('src/error.rs'):gmatch('=> "(E%u+)"') do
      assert.truthy(errors:find('`' .. name .. '`', 1, true), name .. ' is missing')
    end
  end)

  it('names every option', function ()
    for _, caller in ipairs({ 'createContext', 'createEndpoint', 'connect' }) do
      for name in pairs(options[caller]) do
        assert.truthy(readme:find('`' .. name .. '`', 1, true), name .. ' is missing')
      end
    end
  end)
end)
