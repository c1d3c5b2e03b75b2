//! Which hellos have been let in already: a proof of an address makes one session, not as many as there
//! are copies of it.
//!
//! Networks duplicate datagrams, clients repeat them, and whoever has seen one can send it again while its
//! cookie is good. Without a memory each copy would make a session once the first one's has ended, ask
//! the user's hooks again, or take the place of a handshake that has begun since.
//!
//! What is kept is 8 bytes for a hello that was let in, for as long as its cookie can be good, and no more
//! than a fixed number of them: beyond it hellos are let in unremembered, which costs what a copy costs.
//! The hash has a key, so nobody can choose hellos that look like a client's.

use std::collections::hash_map::RandomState;
use std::collections::HashSet;
use std::hash::{BuildHasher, Hash};

/// How many windows a cookie can be good for: its own, the next, and one more where the clock of the host
/// that signed it is ahead.
const WINDOWS: usize = 3;

/// The most that are remembered of one window: a megabyte.
const MOST: usize = 1 << 16;

/// The hellos of the last few windows.
#[derive(Default)]
pub struct Spent {
    key: RandomState,
    window: u64,
    /// Of the present window, the one before, …
    generations: [HashSet<u64>; WINDOWS],
}

impl Spent {
    /// What a hello goes by.
    pub fn digest(&self, hello: impl Hash) -> u64 {
        self.key.hash_one(hello)
    }

    /// Notes that a hello has been let in. Says whether it is the first time.
    pub fn spend(&mut self, digest: u64, window: u64) -> bool {
        if self.holds(digest, window) {
            return false;
        }
        if self.generations[0].len() < MOST {
            self.generations[0].insert(digest);
        }
        true
    }

    /// Whether a hello has been let in before.
    pub fn holds(&mut self, digest: u64, window: u64) -> bool {
        self.age(window);
        self.generations.iter().any(|generation| generation.contains(&digest))
    }

    /// Forgets what is too old. A clock that is set back makes nothing older; one that was far ahead goes on
    /// from where it is now, as what was noted then would never be.
    fn age(&mut self, window: u64) {
        if window + (WINDOWS as u64) <= self.window {
            self.window = window;
        }
        let passed = window.saturating_sub(self.window).min(WINDOWS as u64);
        for _ in 0..passed {
            self.generations.rotate_right(1);
            self.generations[0] = HashSet::new();
        }
        self.window = self.window.max(window);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_is_spent_once_for_as_long_as_its_cookie_is_good() {
        let mut spent = Spent::default();
        let digest = spent.digest("hello");
        assert!(!spent.holds(digest, 100));
        assert!(spent.spend(digest, 100));
        for window in [100, 101, 102, 101] {
            assert!(spent.holds(digest, window));
            assert!(!spent.spend(digest, window), "window {window}");
        }
        assert!(spent.spend(spent.digest("another"), 102));
        assert!(spent.spend(digest, 103));
    }

    #[test]
    fn a_flood_of_hellos_is_forgotten_and_not_kept() {
        let mut spent = Spent::default();
        for n in 0..(MOST as u64 + 1000) {
            assert!(spent.spend(n, 7));
        }
        assert_eq!(spent.generations[0].len(), MOST);
        assert!(!spent.spend(0, 7));
        assert!(spent.spend(0, 10));
        assert!(spent.generations[1..].iter().all(HashSet::is_empty));
    }

    #[test]
    fn a_clock_that_was_a_day_ahead_and_is_put_right_ages_what_there_is() {
        let mut spent = Spent::default();
        assert!(spent.spend(1, 5000));
        assert!(!spent.spend(1, 3560));
        assert!(!spent.spend(1, 3562));
        assert!(spent.spend(1, 3563));
    }

    #[test]
    fn two_memories_share_no_key() {
        assert_ne!(Spent::default().digest("hello"), Spent::default().digest("hello"));
    }
}
