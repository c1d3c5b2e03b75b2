use super::*;
use std::ptr::null;
use std::thread;

fn pool_of_one_size(pages: usize) -> (Pool, Vec<usize>) {
    let mut pool = Pool { by_pages: [NONE; MOST_PAGES + 1], chunks: Vec::new(), noted: 0, in_use: 0 };
    let blocks = (0..3 * BLOCKS).map(|_| pool.allocate(pages).unwrap()).collect();
    (pool, blocks)
}

fn bytes(address: usize, length: usize) -> &'static mut [u8] {
    // SAFETY: the tests below ask for what they have allocated, and for one thing at a time.
    unsafe { std::slice::from_raw_parts_mut(address as *mut u8, length) }
}

/// How many of these pages are there, mincore(2).
fn pages_there(address: usize, pages: usize) -> usize {
    let mut there = vec![0; pages];
    // SAFETY: one byte for each page of a block that is mapped.
    unsafe { libc::mincore(address as *mut c_void, pages * PAGE, there.as_mut_ptr()) };
    there.iter().filter(|&&page| page & 1 == 1).count()
}

#[test]
fn blocks_do_not_overlap_and_are_found_by_where_they_begin() {
    for pages in [1, 4, 5, 6] {
        let (mut pool, mut blocks) = pool_of_one_size(pages);
        assert_eq!(pool.in_use, blocks.len() * pages * PAGE);
        blocks.sort_unstable();
        assert!(blocks.windows(2).all(|two| two[1] - two[0] >= pages * PAGE));
        for &block in &blocks {
            assert!(!pool.release(block + 16) && (pages == 1 || !pool.release(block + PAGE)));
            assert!(pool.release(block));
        }
        assert_eq!(pool.in_use, 0);
        for stranger in [PAGE, blocks[0] - PAGE, usize::MAX - PAGE + 1] {
            assert!(!pool.release(stranger));
        }
    }
}

#[test]
fn the_block_that_was_freed_last_is_taken_first() {
    let (mut pool, blocks) = pool_of_one_size(5);
    assert!(pool.release(blocks[7]) && pool.release(blocks[3]));
    assert_eq!((pool.allocate(5), pool.allocate(5)), (Some(blocks[3]), Some(blocks[7])));
}

#[test]
fn pages_are_there_when_they_are_touched_and_no_longer_when_they_are_discarded() {
    let (mut pool, blocks) = pool_of_one_size(6);
    let [block, next] = [blocks[10], blocks[11]];
    assert_eq!(pages_there(block, 6), 0);
    bytes(block, 6 * PAGE).fill(1);
    bytes(next, 6 * PAGE).fill(2);
    let noted = pool.note(block);
    pool.discard(Leavings([noted, None, None]));
    assert_eq!((pages_there(block, 6), pages_there(next, 6)), (0, 6));
    assert!(bytes(block, 6 * PAGE).iter().all(|&byte| byte == 0));
    assert!(bytes(next, 6 * PAGE).iter().all(|&byte| byte == 2));
}

#[test]
fn what_was_freed_since_it_was_noted_is_left_to_whoever_has_it_now() {
    let (mut pool, blocks) = pool_of_one_size(6);
    let noted = pool.note(blocks[0]);
    for note_again in [false, true] {
        assert!(pool.release(blocks[0]));
        assert_eq!(pool.allocate(6), Some(blocks[0]));
        if note_again {
            pool.note(blocks[0]);
        }
        bytes(blocks[0], 6 * PAGE).fill(3);
        pool.discard(Leavings([noted, None, None]));
        assert!(bytes(blocks[0], 6 * PAGE).iter().all(|&byte| byte == 3));
    }
}

#[test]
fn free_pages_go_back_to_the_system_but_for_a_few() {
    let (mut pool, blocks) = pool_of_one_size(4);
    for &block in &blocks {
        bytes(block, 4 * PAGE).fill(4);
        assert!(pool.release(block));
    }
    for touched_again in [false, true] {
        if touched_again {
            let again: Vec<_> = (0..2 * KEPT).map(|_| pool.allocate(4).unwrap()).collect();
            again.iter().for_each(|&block| bytes(block, 4 * PAGE).fill(5));
            assert!(again.iter().all(|&block| pool.release(block)));
        }
        pool.trim();
        let there: usize = blocks.iter().map(|&block| pages_there(block, 4)).sum();
        assert_eq!(there, 4 * KEPT);
    }
}

#[test]
fn the_first_step_of_a_handshake_notes_what_it_leaves_behind_and_nothing_else() {
    let call = |size, file: &CStr| {
        // SAFETY: the name is a constant's.
        unsafe { malloc(size, file.as_ptr(), 0) }
    };
    let before = call(INIT_BUF, c"crypto/buffer/buffer.c");
    let (blocks, Leavings(noted)) = beginning(|| {
        [
            call(INIT_BUF, c"crypto/evp/digest.c"),
            call(BUFFERING, c"crypto/lhash/lhash.c"),
            call(16_724, c"ssl/record/methods/tls_common.c"),
            call(INIT_BUF, c"crypto/buffer/buffer.c"),
            call(BUFFERING, c"crypto/bio/bf_buff.c"),
            call(BUFFERING, c"crypto/bio/bf_buff.c"),
            call(BUFFERING, c"crypto/bio/bf_buff.c"),
            call(INIT_BUF, c"crypto/buffer/buffer.c"),
        ]
    });
    let after = call(BUFFERING, c"crypto/bio/bf_buff.c");
    let noted: Vec<_> = noted.iter().flatten().map(|block| block.address).collect();
    assert_eq!(noted, [3, 4, 5].map(|index| blocks[index] as usize));
    for block in blocks.into_iter().chain([before, after]) {
        // SAFETY: allocated above.
        unsafe { free(block, null(), 0) };
    }
}

#[test]
fn contents_stay_when_a_block_grows_or_shrinks() {
    let sizes = [1, 24, 25, 4096, 6_000, 12_288, 12_289, 16_384, 16_385, 24_576, 24_577, 100_000];
    for (from, to) in sizes.into_iter().flat_map(|from| sizes.map(|to| (from, to))) {
        // SAFETY: each is used as long as it is, to its end, and freed once.
        unsafe {
            let old = realloc(null_mut(), from, null(), 0);
            bytes(old as usize, from).iter_mut().enumerate().for_each(|(index, byte)| *byte = index as u8);
            let new = realloc(old, to, null(), 0);
            let kept = bytes(new as usize, to);
            assert!(kept.iter().take(from).enumerate().all(|(index, &byte)| byte == index as u8));
            assert!(realloc(new, 0, null(), 0).is_null());
        }
    }
    // SAFETY: nothing is asked for, and nothing freed.
    unsafe {
        assert!(malloc(0, null(), 0).is_null());
        free(null_mut(), null(), 0);
    }
}

#[test]
fn blocks_may_be_freed_by_another_thread_than_has_taken_them() {
    let sizes = [16, 40, 1_000, 4_432, 4_096, 15_336, 16_594, 21_848];
    let take = move |mark: u8| {
        let fill = move |round: usize| {
            let size = sizes[round % sizes.len()];
            // SAFETY: new, and as long.
            let block = unsafe { malloc(size, null(), 0) } as usize;
            bytes(block, size).fill(mark);
            (block, size)
        };
        (0..2_000).map(fill).collect::<Vec<_>>()
    };
    let give = |blocks: Vec<(usize, usize)>, mark: u8| {
        for (block, size) in blocks {
            assert!(bytes(block, size).iter().all(|&byte| byte == mark));
            // SAFETY: whoever took it has handed it over.
            unsafe { free(block as *mut c_void, null(), 0) };
        }
    };
    let threads: Vec<_> = (1..=8).map(|mark| (mark, thread::spawn(move || take(mark)))).collect();
    let taken: Vec<_> = threads.into_iter().map(|(mark, thread)| (mark, thread.join().unwrap())).collect();
    let threads: Vec<_> =
        taken.into_iter().map(|(mark, blocks)| thread::spawn(move || give(blocks, mark))).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}
