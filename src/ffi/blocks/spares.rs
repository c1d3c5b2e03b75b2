//! Small blocks that OpenSSL has freed, for it to take again.
//!
//! A handshake takes and frees a thousand, most of them of some forty sizes and for moments. The C library keeps
//! seven of a size at hand, and none of more than a kilobyte: for the others it looks through what is free, and
//! joins it. This costs a twentieth of a handshake's time.
//!
//! They are kept beside, not linked through one another as the C library's are: what is written to a block after
//! it was freed leads nobody astray.

use libc::c_void;
use std::cell::RefCell;

/// Sizes are reckoned in steps of so many bytes: the C library's blocks have 8 bytes more than a number of them.
const STEP: usize = 16;
/// The largest that are kept: a connection, of which more than one is made before the other is freed.
const SIZES: usize = 6 * 1024 / STEP;
/// How many are kept of a size, and from which one on fewer.
const MOST: usize = 32;
const LARGE: usize = 1024 / STEP;
const MOST_LARGE: usize = 12;

/// Those of one thread, by their size in steps. All are the C library's, and nobody else's.
struct Spares([Vec<*mut c_void>; SIZES]);

thread_local! {
    static SPARES: RefCell<Spares> = const { RefCell::new(Spares([const { Vec::new() }; SIZES])) };
}

/// Takes a block of at least so many bytes.
pub fn take(bytes: usize) -> Option<*mut c_void> {
    // None of the C library's holds less than 24 bytes.
    let size = (bytes.checked_add(STEP - 9)? / STEP).max(1);
    // A thread that ends has none any more.
    SPARES.try_with(|spares| spares.borrow_mut().0.get_mut(size)?.pop()).ok()?
}

/// Takes a block to keep. Says whether it is kept.
///
/// # Safety
///
/// It must be the C library's, and the caller's, whose it is no longer if it is kept.
pub unsafe fn keep(block: *mut c_void) -> bool {
    // SAFETY: the block has not been freed.
    let size = unsafe { libc::malloc_usable_size(block) }.saturating_sub(8) / STEP;
    let kept = SPARES.try_with(|spares| {
        let mut spares = spares.borrow_mut();
        let Some(spares) = spares.0.get_mut(size) else { return false };
        let most = if size < LARGE { MOST } else { MOST_LARGE };
        if spares.len() == most {
            return false;
        }
        if spares.capacity() == 0 {
            spares.reserve_exact(most);
        }
        spares.push(block);
        true
    });
    kept.unwrap_or(false)
}

/// Frees what this thread keeps.
pub fn free_all() {
    // A thread that ends has freed it.
    let _ = SPARES.try_with(|spares| spares.borrow_mut().free_all());
}

impl Spares {
    fn free_all(&mut self) {
        for block in self.0.iter_mut().flat_map(|spares| spares.drain(..)) {
            // SAFETY: `keep` has taken it from whoever had it, and nobody has it any more.
            unsafe { libc::free(block) };
        }
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        self.free_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_taken_again_for_no_more_than_it_holds() {
        for bytes in 1..SIZES * STEP + 100 {
            // SAFETY: a new block, which is kept, and freed with all the others.
            let (kept, holds) = unsafe {
                let block = libc::malloc(bytes);
                (keep(block), libc::malloc_usable_size(block))
            };
            assert!(kept == (holds < SIZES * STEP + 8), "{bytes}");
            assert_eq!((take(holds + 1), take(holds).is_some()), (None, kept), "{bytes}");
        }
    }

    #[test]
    fn some_of_each_size_are_kept() {
        for (bytes, most) in [(40, MOST), (4_432, MOST_LARGE)] {
            // SAFETY: new memory.
            let blocks: Vec<_> = (0..100).map(|_| unsafe { libc::malloc(bytes) }).collect();
            // SAFETY: none of them has been freed.
            let holds = |block| unsafe { libc::malloc_usable_size(block) };
            // The C library may have had one at hand that is larger, and counts as another size.
            let least = blocks.iter().map(|&block| holds(block)).min();
            let alike = blocks.into_iter().filter(|&block| Some(holds(block)) == least);
            // SAFETY: they are the C library's, and nobody's after this; some are left to the end of the process.
            assert_eq!(alike.filter(|&block| unsafe { keep(block) }).count(), most);
            free_all();
            assert_eq!(take(bytes), None);
        }
    }
}
