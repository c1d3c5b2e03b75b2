--- Memory that goes back to the system when sessions end.
---
--- A session takes some 30 KiB of the C library's heap, and glibc gives the heap back from its end alone:
--- after a flood of thousands of peers one block that still lives there keeps hundreds of megabytes of free
--- memory in the process for ever. malloc_trim(3) gives it back, at some 0.3 ms for each megabyte, in which
--- nothing else happens. So it is called for some hundred sessions at a time, in a turn of its own, and only
--- where there are fewer sessions than there were: what ends where others begin is used again.

local core = require('dtls_core')
local turns = require('dtls/turns')

local heap = {}

--- How many sessions fewer there must be: eight megabytes, some two milliseconds. With very many sessions it
--- takes longer to look through what is free, and one in so many is waited for.
heap.dose, heap.share = 256, 16

-- Sessions of this process now; the most since memory was given back; and whether it is about to be.
local count, most, due = 0, 0, false

local function trim()
  due, most = false, count
  core.trim_heap()
end

--- A session begins.
function heap.take()
  count = count + 1
  if count > most then most = count end
end

--- A session has ended, and is freed.
function heap.give()
  count = count - 1
  if due or most - count < math.max(heap.dose, most / heap.share) then return end
  due = true
  turns.add(trim)
end

return heap
