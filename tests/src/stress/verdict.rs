//! What must be true of a session's record once it is over, depending on who lived on.

use std::ops::AddAssign;

use super::*;

/// Who was there to take what the other had committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Survivor {
    Main,
    Renderer,
    /// It ended in order, with nothing under way.
    Both,
    Nobody,
}

/// What is wrong with a session. All zero if nothing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// Committed to who lived on, and neither delivered nor counted; or acknowledged, and never run.
    pub(super) lost: u64,
    /// Delivered twice, or never sent.
    pub(super) duplicates: u64,
    pub(super) out_of_order: u64,
    pub(super) corrupt: u64,
}

impl AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.duplicates += other.duplicates;
        self.out_of_order += other.out_of_order;
        self.corrupt += other.corrupt;
    }
}

/// What both ends of a stream have noted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) begun: u64,
    pub(super) done: u64,
    pub(super) acknowledged: u64,
    pub(super) received: u64,
    pub(super) counted: u64,
    pub(super) skipped: u64,
    pub(super) duplicates: u64,
    pub(super) corrupt: u64,
}

impl Counts {
    pub(super) fn of(flow: &Flow) -> Self {
        Self {
            begun: flow.begun.get(),
            done: flow.done.get(),
            acknowledged: flow.acknowledged.get(),
            received: flow.received.get(),
            counted: flow.counted.get(),
            skipped: flow.skipped.get(),
            duplicates: flow.duplicates.get(),
            corrupt: flow.corrupt.get(),
        }
    }

    /// `receiver_lived`: it has taken all that there was to take, and has said so.
    fn judge(self, receiver_lived: bool) -> Faults {
        let mut faults = Faults {
            duplicates: self.duplicates + self.received.saturating_sub(self.begun),
            corrupt: self.corrupt,
            // Acknowledged is what was run, whoever lived on.
            lost: self.acknowledged.saturating_sub(self.received),
            out_of_order: 0,
        };
        if receiver_lived {
            faults.lost += self.done.saturating_sub(self.received + self.counted);
            faults.out_of_order += self.skipped.saturating_sub(self.counted);
        }
        faults
    }
}

/// Judges one session. `main` is the page of its main process.
pub(super) fn judge(record: &Record, main: &MainPage, survivor: Survivor) -> Faults {
    let mut faults = Faults::default();
    for stream in Stream::ALL {
        let receiver_lived = match survivor {
            Survivor::Both => true,
            Survivor::Main => stream.to_main(),
            Survivor::Renderer => !stream.to_main(),
            Survivor::Nobody => false,
        };
        faults += Counts::of(record.flow(stream)).judge(receiver_lived);
    }
    let topic = &record.topic;
    faults.out_of_order += topic.out_of_order.get();
    faults.corrupt += topic.corrupt.get();
    if survivor == Survivor::Renderer {
        // A dead main publishes nothing more, and its last message is never overwritten.
        let missed = main.published_done.get().saturating_sub(topic.last.get());
        // Who has not got any yet may have subscribed after the last one.
        faults.lost += if topic.last.get() > 0 { missed } else { 0 };
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL_WELL: Counts = Counts {
        begun: 10,
        done: 10,
        acknowledged: 0,
        received: 10,
        counted: 0,
        skipped: 0,
        duplicates: 0,
        corrupt: 0,
    };

    #[test]
    fn the_one_call_under_way_may_have_happened_or_not() {
        for received in [9, 10] {
            let counts = Counts { done: 9, received, ..ALL_WELL };
            assert_eq!(counts.judge(true), Faults::default());
        }
        let less = Counts { done: 9, received: 8, ..ALL_WELL };
        assert_eq!(less.judge(true), Faults { lost: 1, ..Faults::default() });
        let more = Counts { done: 9, received: 11, ..ALL_WELL };
        assert_eq!(more.judge(true), Faults { duplicates: 1, ..Faults::default() });
    }

    #[test]
    fn what_a_dead_receiver_did_not_take_is_not_lost() {
        let counts = Counts { received: 3, ..ALL_WELL };
        assert_eq!(counts.judge(false), Faults::default());
        assert_eq!(counts.judge(true).lost, 7);
    }

    #[test]
    fn what_was_counted_is_neither_lost_nor_out_of_order() {
        let counts = Counts { received: 8, counted: 2, skipped: 2, ..ALL_WELL };
        assert_eq!(counts.judge(true), Faults::default());
        let uncounted = Counts { counted: 1, ..counts };
        assert_eq!(uncounted.judge(true), Faults { lost: 1, out_of_order: 1, ..Faults::default() });
    }

    #[test]
    fn an_acknowledgement_without_a_run_is_a_fault_whoever_lived_on() {
        let counts = Counts { acknowledged: 5, received: 4, ..ALL_WELL };
        assert_eq!(counts.judge(false).lost, 1);
    }

    #[test]
    fn what_a_dead_main_published_last_must_have_been_seen() {
        let (board, _descriptor) = Board::create().unwrap();
        let record = board.begin(0, 1, true);
        let main = board.main(1);
        main.published_done.set(20);
        assert_eq!(judge(record, main, Survivor::Renderer), Faults::default());
        record.topic.last.set(19);
        assert_eq!(judge(record, main, Survivor::Renderer).lost, 1);
        assert_eq!(judge(record, main, Survivor::Main).lost, 0);
        record.topic.last.set(21);
        assert_eq!(judge(record, main, Survivor::Renderer), Faults::default());
    }
}
