//! The next deadline of each connection, in the order of time.
//!
//! A connection has one entry at most, so the memory is bounded by their number. One without a deadline
//! costs nothing.

use std::{collections::BTreeSet, time::Instant};

#[derive(Default)]
pub(super) struct Deadlines {
    by_time: BTreeSet<(Instant, usize)>,
    by_place: Vec<Option<Instant>>,
}

impl Deadlines {
    /// Sets the deadline of the connection at `place`, in place of the one that it had.
    pub(super) fn set(&mut self, place: usize, deadline: Option<Instant>) {
        if self.by_place.len() <= place {
            self.by_place.resize(place + 1, None);
        }
        let before = std::mem::replace(&mut self.by_place[place], deadline);
        if before == deadline {
            return;
        }
        // Added first: a set that is never empty in between allocates nothing.
        self.by_time.extend(deadline.map(|deadline| (deadline, place)));
        if let Some(before) = before {
            self.by_time.remove(&(before, place));
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(deadline, _)| *deadline)
    }

    /// Takes out a connection whose deadline has passed at `now`.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<usize> {
        let (_, place) = *self.by_time.first().filter(|(deadline, _)| *deadline <= now)?;
        self.set(place, None);
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn deadlines_pass_in_the_order_of_time_and_once() {
        let mut deadlines = Deadlines::default();
        let at = |ms| Some(began() + Duration::from_millis(ms));
        fn began() -> Instant {
            static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
            *BEGAN.get_or_init(Instant::now)
        }
        deadlines.set(2, at(20));
        deadlines.set(0, at(30));
        deadlines.set(5, at(10));
        assert_eq!(deadlines.next(), at(10));
        let mut due = |ms| deadlines.take_due(at(ms).unwrap());
        assert_eq!(
            [due(9), due(20), due(20), due(20), due(40), due(40)],
            [None, Some(5), Some(2), None, Some(0), None]
        );
    }

    #[test]
    fn a_connection_has_one_entry_however_often_it_is_set() {
        let mut deadlines = Deadlines::default();
        let now = Instant::now();
        for ms in [7, 3, 9, 3, 8] {
            deadlines.set(1, Some(now + Duration::from_millis(ms)));
        }
        assert_eq!(deadlines.by_time.len(), 1);
        assert_eq!(deadlines.next(), Some(now + Duration::from_millis(8)));
        deadlines.set(1, None);
        assert_eq!((deadlines.next(), deadlines.by_time.len()), (None, 0));
    }
}
