-- What dtls-nc says: to a terminal, and of what others have to say.

local Report = require('dtls/nc/report')
local helper = require('spec.helper')

local report, lines

before_each(function ()
  lines = {}
  report = Report.new(0)
  report.file = { write = function (_, text) lines[#lines + 1] = text end }
end)

describe('the report of dtls-nc', function ()
  after_each(function () helper.run() end)

  it('shows what is the peer\'s, and has no terminal do what that says', function ()
    for given, expected in pairs({
      ['plain'] = 'plain',
      ['100%s'] = '100%s',
      ['\27[2J\r\n\0\127'] = '?[2J????',
      ['Zürich, 東京, 😀'] = 'Zürich, 東京, 😀',
      -- CSI, as UTF-8 has it and as other terminals do.
      ['a\194\1552Jb'] = 'a?2Jb',
      ['a\1552Jb'] = 'a?2Jb',
      ['\155\155x'] = '?x',
      ['\195'] = '?',
      ['\195x\226\130y'] = '?x?y',
      ['\192\155\245\128\128\128é'] = '??é',
    }) do
      lines = {}
      report:say('%s', given)
      assert.same({ 'dtls-nc: ' .. expected .. '\n' }, lines)
    end
  end)

  it('tells of each kind of warning once', function ()
    report:warn('EMSGSIZE: too long', 'EMSGSIZE')
    report:warn('EHOOK: another thing', 'EHOOK')
    report:warn('EMSGSIZE: too long', 'EMSGSIZE')
    assert.same({ 'dtls-nc: EMSGSIZE: too long\n', 'dtls-nc: EHOOK: another thing\n' }, lines)
  end)
end)
