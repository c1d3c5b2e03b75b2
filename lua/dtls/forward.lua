--- For an object that stands in front of another: what it lacks, the other does.

--- Makes the `__index` of a class whose instances have the other object in their field `name`. What is
--- private, with an underline in front, stays the other's own.
---
--- @param class table
--- @param name string
return function (class, name)
  return function (self, key)
    local own = class[key]
    if own ~= nil then return own end
    local other = rawget(self, name)
    if not other or type(key) ~= 'string' or key:sub(1, 1) == '_' then return nil end
    local value = other[key]
    if type(value) ~= 'function' then return value end
    return function (of, ...)
      if of == self then of = other end
      return value(of, ...)
    end
  end
end
