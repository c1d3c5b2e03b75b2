//! OpenSSL's large blocks: whole pages, which can be taken back from a session that lives.
//!
//! The C library's heap keeps what was ever touched, and an idle session's large blocks are memory that nobody
//! reads again. OpenSSL has three kinds of them (files and lines are of OpenSSL 3.6.3):
//!
//! - The **ring** of a `BIO_s_dgram_mem` (bss_dgram_pair.c:37, 15 336 bytes), for records of the next epoch that
//!   come early. The screen holds those back, so it stays empty. It is never written to, and pages that nobody
//!   has touched are not there: all that it takes is that its pages are used for nothing else.
//! - The **handshake's buffer** (`init_buf`, 21 848 bytes) and the two buffers of the BIO in which a flight is
//!   gathered (bf_buff.c:52, 4096 each). A complete handshake leaves them behind: see [`retired`](crate::retired).
//! - The buffers that **records** are read into and sealed in (16 594 to 16 724 bytes), taken for each record and given
//!   back. The one that was given back last is taken first, and is in the processor's cache still.
//!
//! All else is the C library's, though what is small is kept at hand for a while ([`spares`]). Blocks come from
//! chunks that are mapped once and used again for blocks of as many pages; what is free goes back to the system
//! with [`trim`].

mod spares;
#[cfg(test)]
mod tests;

use libc::{c_char, c_int, c_void};
use std::cell::Cell;
use std::ffi::CStr;
use std::num::NonZeroU64;
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The page that all is reckoned in. Where the system's is another, all blocks are the C library's.
const PAGE: usize = 4096;
/// How many pages a block has at most: those of `init_buf`, the largest of the kinds above.
const MOST_PAGES: usize = 6;
/// How many blocks a chunk has.
const BLOCKS: usize = 128;
/// How many free blocks of each size are kept by [`trim`], to be used next.
const KEPT: usize = 8;
/// `SSL3_RT_MAX_PLAIN_LENGTH` as BUF_MEM_grow rounds it up (buffer.c:95).
const INIT_BUF: usize = (16_384 + 3) / 3 * 4;
/// `DEFAULT_BUFFER_SIZE` of bf_buff.c.
const BUFFERING: usize = 4096;

type Malloc = unsafe extern "C" fn(usize, *const c_char, c_int) -> *mut c_void;
type Realloc = unsafe extern "C" fn(*mut c_void, usize, *const c_char, c_int) -> *mut c_void;
type Free = unsafe extern "C" fn(*mut c_void, *const c_char, c_int);

extern "C" {
    fn CRYPTO_set_mem_functions(malloc: Malloc, realloc: Realloc, free: Free) -> c_int;
}

/// Has OpenSSL take its memory from here, CRYPTO_set_mem_functions(3). To no effect where it has taken some
/// already: then that, and all that follows, is the C library's.
pub fn install() {
    // SAFETY: sysconf(3) reads a number. The functions are there as long as this OpenSSL, which is linked into
    // the same module; and what each returns the others take, as they take what the C library has returned.
    unsafe {
        if libc::sysconf(libc::_SC_PAGESIZE) == PAGE as _ {
            CRYPTO_set_mem_functions(malloc, realloc, free);
        }
    }
}

/// One allocation that was noted: where it is, and a number, so that nobody takes a later one at that place for it.
#[derive(Clone, Copy)]
struct Block {
    address: usize,
    serial: NonZeroU64,
}

/// The blocks that a handshake leaves behind: `init_buf`, and both buffers of its BIO.
#[derive(Clone, Copy, Default)]
pub struct Leavings([Option<Block>; 3]);

thread_local! {
    /// What the handshake that begins on this thread has allocated.
    static BEGUN: Cell<Option<Leavings>> = const { Cell::new(None) };
}

/// Makes the first call of SSL_do_handshake(3) for a session, and notes what of its memory a complete handshake
/// leaves behind. That call allocates all of it, and nothing else that is like it: a `BIO_f_buffer` is made in
/// `state_machine` alone (statem.c:459; of OpenSSL's others none is on the way of a handshake), and so is a
/// `BUF_MEM` of that size (statem.c:437).
pub fn beginning<T>(first_call: impl FnOnce() -> T) -> (T, Leavings) {
    BEGUN.set(Some(Leavings::default()));
    let outcome = first_call();
    (outcome, BEGUN.take().unwrap_or_default())
}

/// Takes the contents of what a handshake has left behind and has not been freed since: they read as zeros from
/// now on. Whoever calls this knows that nobody misses them; see [`retired`](crate::retired). (A handshake that
/// is under way would be spoiled, and nothing else: they are bytes of messages.)
pub fn discard(leavings: Leavings) {
    pool().discard(leavings);
}

/// Gives the pages of free blocks back to the system.
pub fn trim() {
    spares::free_all();
    pool().trim();
}

/// How many bytes are in use in blocks.
pub fn in_use() -> usize {
    pool().in_use
}

/// Blocks of one size.
struct Blocks {
    /// Those that are free, the one that was freed last at the end.
    free: Vec<usize>,
    /// How many of these, from the beginning, have not been touched since they were mapped or discarded.
    clean: usize,
}

/// Blocks that were mapped together.
struct Chunk {
    start: usize,
    pages: usize,
    /// Of each block the number by which its allocation was noted, if it was.
    serials: Vec<Option<NonZeroU64>>,
}

struct Pool {
    by_pages: [Blocks; MOST_PAGES + 1],
    /// Sorted by where they start.
    chunks: Vec<Chunk>,
    noted: u64,
    in_use: usize,
}

/// No blocks yet.
const NONE: Blocks = Blocks { free: Vec::new(), clean: 0 };

static POOL: Mutex<Pool> =
    Mutex::new(Pool { by_pages: [NONE; MOST_PAGES + 1], chunks: Vec::new(), noted: 0, in_use: 0 });

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many pages a block of so many bytes has, where it is one of ours.
fn pages_for(bytes: usize) -> Option<usize> {
    match bytes {
        BUFFERING => Some(1),
        12_289..=24_576 => Some(bytes.div_ceil(PAGE)),
        _ => None,
    }
}

impl Pool {
    fn allocate(&mut self, pages: usize) -> Option<usize> {
        if self.by_pages[pages].free.is_empty() {
            self.map(pages)?;
        }
        let blocks = &mut self.by_pages[pages];
        let address = blocks.free.pop()?;
        blocks.clean = blocks.clean.min(blocks.free.len());
        self.in_use += pages * PAGE;
        Some(address)
    }

    /// Notes the allocation of the block that begins there.
    fn note(&mut self, address: usize) -> Option<Block> {
        let serial = NonZeroU64::MIN.saturating_add(self.noted);
        self.noted += 1;
        *self.find(address)?.1 = Some(serial);
        Some(Block { address, serial })
    }

    /// Frees the block that begins there. Says whether one does.
    fn release(&mut self, address: usize) -> bool {
        let Some((pages, serial)) = self.find(address) else { return false };
        *serial = None;
        self.by_pages[pages].free.push(address);
        self.in_use -= pages * PAGE;
        true
    }

    /// The number of pages of the block that begins there, and the number by which its allocation was noted.
    fn find(&mut self, address: usize) -> Option<(usize, &mut Option<NonZeroU64>)> {
        let behind = self.chunks.partition_point(|chunk| chunk.start <= address);
        let chunk = self.chunks.get_mut(behind.checked_sub(1)?)?;
        let offset = address - chunk.start;
        let serial = chunk.serials.get_mut(offset / (chunk.pages * PAGE))?;
        offset.is_multiple_of(chunk.pages * PAGE).then_some((chunk.pages, serial))
    }

    /// Maps a chunk of blocks.
    fn map(&mut self, pages: usize) -> Option<()> {
        let bytes = BLOCKS * pages * PAGE;
        // SAFETY: new memory, wherever the system likes. Without huge pages, which would be there whole as soon
        // as any part of them is touched.
        let start = unsafe {
            let (readable, private) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let start = libc::mmap(null_mut(), bytes, readable, private, -1, 0);
            if start == libc::MAP_FAILED {
                return None;
            }
            libc::madvise(start, bytes, libc::MADV_NOHUGEPAGE);
            start as usize
        };
        let place = self.chunks.partition_point(|chunk| chunk.start <= start);
        self.chunks.insert(place, Chunk { start, pages, serials: vec![None; BLOCKS] });
        let blocks = &mut self.by_pages[pages];
        blocks.free.extend((0..BLOCKS).rev().map(|index| start + index * pages * PAGE));
        blocks.clean = blocks.free.len();
        Some(())
    }

    /// Takes the contents of these blocks, of those of them that have not been freed meanwhile.
    fn discard(&mut self, leavings: Leavings) {
        for block in leavings.0.into_iter().flatten() {
            if let Some((pages, serial)) = self.find(block.address) {
                if *serial == Some(block.serial) {
                    // SAFETY: the block is ours, and whoever calls has said that its contents may go.
                    unsafe { forget_pages(block.address, pages) };
                }
            }
        }
    }

    fn trim(&mut self) {
        for (pages, blocks) in self.by_pages.iter_mut().enumerate() {
            let kept = blocks.free.len().saturating_sub(KEPT);
            for &address in blocks.free.get(blocks.clean..kept).unwrap_or_default() {
                // SAFETY: the block is free, so it is nobody's.
                unsafe { forget_pages(address, pages) };
            }
            blocks.clean = blocks.clean.max(kept);
        }
    }
}

/// Gives pages back to the system, madvise(2); they read as zeros from then on.
///
/// # Safety
///
/// They must be of a block of ours, whose contents may go.
unsafe fn forget_pages(address: usize, pages: usize) {
    // SAFETY: what is mapped there is ours and stays mapped; the rest is the caller's word.
    unsafe { libc::madvise(address as *mut c_void, pages * PAGE, libc::MADV_DONTNEED) };
}

/// Notes a block that may be left behind by the handshake that begins on this thread.
fn note(address: usize, bytes: usize, file: *const c_char) {
    let Some(mut leavings) = BEGUN.get() else { return };
    let (places, wanted) = match bytes {
        INIT_BUF => (0..1, "buffer/buffer.c"),
        BUFFERING => (1..3, "bio/bf_buff.c"),
        _ => return,
    };
    // SAFETY: null, or the name of a source file, which is a constant. (It is empty in an OpenSSL without
    // names: then nothing is left behind.)
    let file = unsafe { (!file.is_null()).then(|| CStr::from_ptr(file).to_bytes()) }.unwrap_or_default();
    let free = places.into_iter().find(|&place| leavings.0[place].is_none());
    if let (true, Some(place)) = (file.ends_with(wanted.as_bytes()), free) {
        leavings.0[place] = pool().note(address);
        BEGUN.set(Some(leavings));
    }
}

unsafe extern "C" fn malloc(bytes: usize, file: *const c_char, _line: c_int) -> *mut c_void {
    if let Some(block) = pages_for(bytes).and_then(|pages| allocate(pages, bytes, file)) {
        return block as *mut c_void;
    }
    if bytes == 0 {
        // OpenSSL wants nothing where it asks for nothing.
        return null_mut();
    }
    // SAFETY: malloc(3) takes any number.
    spares::take(bytes).unwrap_or_else(|| unsafe { libc::malloc(bytes) })
}

unsafe extern "C" fn realloc(
    old: *mut c_void,
    bytes: usize,
    file: *const c_char,
    line: c_int,
) -> *mut c_void {
    // SAFETY: `old` is null, or what `malloc` or this has returned and nobody has freed. A block is copied as
    // far as both reach, to one that is new.
    unsafe {
        if old.is_null() {
            return malloc(bytes, file, line);
        }
        if bytes == 0 {
            free(old, file, line);
            return null_mut();
        }
        let Some(pages) = pages_of(old) else { return libc::realloc(old, bytes) };
        let new = malloc(bytes, file, line);
        if !new.is_null() {
            old.cast::<u8>().copy_to_nonoverlapping(new.cast(), bytes.min(pages * PAGE));
            free(old, file, line);
        }
        new
    }
}

unsafe extern "C" fn free(block: *mut c_void, _file: *const c_char, _line: c_int) {
    // Whatever does not begin a page is none of ours. (Half of what OpenSSL frees is null.)
    if block.is_null() {
        return;
    }
    if (block as usize).is_multiple_of(PAGE) && release(block as usize) {
        return;
    }
    // SAFETY: it is what `malloc` or `realloc` has from the C library, and nobody has freed it.
    unsafe {
        if !spares::keep(block) {
            libc::free(block);
        }
    }
}

// Neither of these two may be inlined: what OpenSSL asks for a thousand times in a handshake are small blocks.

#[inline(never)]
fn allocate(pages: usize, bytes: usize, file: *const c_char) -> Option<usize> {
    let address = pool().allocate(pages)?;
    note(address, bytes, file);
    Some(address)
}

#[inline(never)]
fn release(address: usize) -> bool {
    pool().release(address)
}

fn pages_of(block: *mut c_void) -> Option<usize> {
    let address = block as usize;
    address.is_multiple_of(PAGE).then(|| pool().find(address).map(|(pages, _)| pages)).flatten()
}
