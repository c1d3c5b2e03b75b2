--- Keeps LuaJIT from compiling a function that walks a table with `pairs`.
---
--- Compiled, `next` returns its key and value in two registers, and where those fall the other way
--- round, builds of LuaJIT 2.1 of 2022 (Debian 12 has one) swap them as 32-bit numbers: the pointer
--- among them is cut in half and the process dies. So no path that datagrams take uses `next` or
--- `pairs`, and what does is marked by this.

--- @param fn function
return function (fn)
  if jit then jit.off(fn, true) end
end
