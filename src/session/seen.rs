//! Which of the peer's sealed records have been had: a window of their numbers (RFC 6347 section 4.1.2.6).
//!
//! OpenSSL keeps such a window and shows it to nobody. This one is the session's own, and holds no number
//! that OpenSSL has not: a record enters it when something came of it that only the peer can have caused.
//! What the peer has sent to no effect (an empty record) is missing, so that the window may lag behind
//! OpenSSL's and never runs ahead. That is the safe side: whoever could enter a number without the key would
//! have all genuine records below it taken for old.
//!
//! (It is about epoch 1, the only one that DTLS 1.2 seals, as there is no renegotiation. In DTLS 1.3 each
//! key update begins an epoch, whose numbers begin at 0: RFC 9147 section 4.2.1.)

/// How far the window reaches back from the newest number, that included: as far as OpenSSL's.
const WIDTH: u64 = u64::BITS as u64;

/// The numbers of one epoch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    newest: Option<u64>,
    /// Bit `n` stands for the number `newest - n`.
    bits: u64,
}

impl Seen {
    /// The largest number of all; `None` before the first.
    pub(super) fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// Whether a record of this number was had already, or is older than the window can tell.
    pub(super) fn has(&self, number: u64) -> bool {
        match self.newest.and_then(|newest| newest.checked_sub(number)) {
            None => false,
            Some(back) => back >= WIDTH || self.bits & 1 << back != 0,
        }
    }

    /// Enters the number of a record that OpenSSL has authenticated.
    pub(super) fn note(&mut self, number: u64) {
        let newest = *self.newest.get_or_insert(number);
        if number > newest {
            let ahead = (number - newest).min(u64::from(u32::MAX)) as u32;
            self.bits = self.bits.checked_shl(ahead).unwrap_or(0) | 1;
            self.newest = Some(number);
        } else if newest - number < WIDTH {
            self.bits |= 1 << (newest - number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn of(numbers: &[u64]) -> Seen {
        let mut seen = Seen::default();
        numbers.iter().for_each(|&number| seen.note(number));
        seen
    }

    #[test]
    fn at_first_nothing_was_had() {
        let seen = Seen::default();
        assert_eq!((seen.newest(), seen.has(0), seen.has(1 << 47)), (None, false, false));
    }

    #[test]
    fn numbers_may_come_in_any_order_and_leave_holes() {
        let seen = of(&[5, 3, 9, 4]);
        let had: Vec<u64> = (0..12).filter(|&number| seen.has(number)).collect();
        assert_eq!((had, seen.newest()), (vec![3, 4, 5, 9], Some(9)));
    }

    #[test]
    fn what_is_older_than_the_window_passes_for_had() {
        let seen = of(&[1000]);
        assert!(seen.has(1000 - WIDTH) && !seen.has(1000 - WIDTH + 1));
    }

    #[test]
    fn the_window_moves_by_any_distance() {
        for ahead in [1, 63, 64, 65, 1 << 32, (1 << 32) + 1, (1 << 48) - 1] {
            let seen = of(&[0, ahead]);
            let last = (1..=ahead.min(WIDTH - 1)).filter(|back| seen.has(ahead - back)).collect::<Vec<_>>();
            assert_eq!(last, if ahead < WIDTH { vec![ahead] } else { vec![] }, "{ahead}");
            assert!(seen.has(ahead) && seen.has(0));
        }
    }

    #[test]
    fn it_is_what_a_set_of_all_numbers_would_say() {
        let (mut seen, mut all, mut state) = (Seen::default(), BTreeSet::new(), 1u64);
        for round in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let number = round / 4 + (state >> 33) % 100;
            let newest = all.last().copied();
            let expected = all.contains(&number) || newest.is_some_and(|newest| number + WIDTH <= newest);
            assert_eq!((seen.has(number), seen.newest()), (expected, newest), "{number} in round {round}");
            if state >> 63 == 1 {
                seen.note(number);
                all.insert(number);
            }
        }
    }
}
