--- Runs a program as Luvit runs every program: in a coroutine, with its arguments in `process.argv` and none
--- in `arg`, and the loop when it yields or returns.
---
---   coroutine.lua FILE ARGUMENT…

local uv = require('luv')

local program = assert(loadfile(arg[1]))
_G.process, _G.arg = { argv = arg }, nil

coroutine.wrap(program)()
uv.run()
