//! The judgement of each session by its record, and the summary of the run.

use std::{fmt, ops::AddAssign};

use serde::Serialize;

use super::*;

/// The side that was there to take what its peer had committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Survivor {
    Main,
    Renderer,
    /// The session ended in order, with nothing under way.
    Both,
    Nobody,
}

/// The faults of a session. All zero if there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Faults {
    /// Committed to a process that lived on, and neither delivered nor counted; or acknowledged, and never run.
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

/// Judges one stream. `receiver_lived`: the receiver has taken all that there was, and has said so.
fn judge_flow(flow: &Flow, receiver_lived: bool) -> Faults {
    let [received, counted] = [flow.received.get(), flow.counted.get()];
    let mut faults = Faults {
        duplicates: flow.duplicates.get() + received.saturating_sub(flow.begun.get()),
        corrupt: flow.corrupt.get(),
        // An acknowledged request has run, whichever side lived on.
        lost: flow.acknowledged.get().saturating_sub(received),
        out_of_order: 0,
    };
    if receiver_lived {
        faults.lost += flow.done.get().saturating_sub(received + counted);
        faults.out_of_order += flow.skipped.get().saturating_sub(counted);
    }
    faults
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
        faults += judge_flow(record.flow(stream), receiver_lived);
    }
    let topic = &record.topic;
    faults.out_of_order += topic.out_of_order.get();
    faults.corrupt += topic.corrupt.get();
    // A renderer without any message may have subscribed after the last one.
    if survivor == Survivor::Renderer && topic.last.get() > 0 {
        // A dead main publishes nothing more, and its last message is never overwritten.
        faults.lost += main.published_done.get().saturating_sub(topic.last.get());
    }
    faults
}

/// The figures of one run, in the order in which they are printed.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Summary {
    pub(super) seed: u64,
    pub(super) backend: Over,
    pub(super) renderers: usize,
    pub(super) seconds: f64,
    /// Sessions that began and were judged.
    pub(super) cycles: u64,
    pub(super) kills: u64,
    pub(super) stops: u64,
    pub(super) shortages: u64,
    pub(super) clock_jumps: u64,
    pub(super) main_restarts: u64,
    /// Pauses in which main's holdings were compared with those at its beginning.
    pub(super) censuses: u64,
    /// Delivered messages of all kinds but replies and published ones.
    pub(super) frames: u64,
    /// Invokes that were answered.
    pub(super) invokes: u64,
    pub(super) pushes: u64,
    pub(super) large: u64,
    pub(super) publishes: u64,
    pub(super) published_received: u64,
    /// Sends and launches that failed with an error that names the shortage.
    pub(super) refused: u64,
    pub(super) violations: u64,
    #[serde(flatten)]
    pub(super) faults: Faults,
    pub(super) leaks: u64,
    /// The most threads that dead processes left behind in events of one main process. Portable backend only.
    pub(super) left_behind: u64,
    pub(super) hangs: u64,
    /// Processes that ended without being hurt.
    pub(super) crashes: u64,
    /// Errors without an explanation.
    pub(super) unexpected: u64,
    pub(super) recoveries: usize,
    pub(super) recovery_p50_ms: f64,
    pub(super) recovery_p99_ms: f64,
    pub(super) max_recovery_ms: f64,
}

impl Summary {
    /// Returns whether everything that must be 0 is.
    pub(super) fn is_good(&self) -> bool {
        // A process that dies inside an event leaves two threads of its peer behind. One kill in 20 may hit a process
        // there.
        let too_many_left_behind = self.left_behind > 2 * self.kills.div_ceil(20);
        let Self { violations, leaks, hangs, crashes, unexpected, .. } = *self;
        self.faults == Faults::default()
            && [violations, leaks, hangs, crashes, unexpected] == [0; 5]
            && !too_many_left_behind
    }

    /// Adds a session's figures other than its faults.
    pub(super) fn count(&mut self, record: &Record) {
        self.cycles += 1;
        let received = |stream| record.flow(stream).received.get();
        self.frames += Stream::ALL.into_iter().map(received).sum::<u64>();
        let acknowledged = |stream| record.flow(stream).acknowledged.get();
        self.invokes += acknowledged(Stream::Call) + acknowledged(Stream::Ask);
        self.pushes += received(Stream::Push) + received(Stream::Patient) + received(Stream::Blob);
        self.large += received(Stream::Large) + received(Stream::Blob);
        self.published_received += record.topic.received.get();
        self.refused += record.refused.get();
        self.violations += record.violations.get();
        self.unexpected += record.unexpected.get();
    }

    /// Computes the percentiles of the times from a death to its report.
    pub(super) fn set_recoveries(&mut self, mut nanoseconds: Vec<u64>) {
        nanoseconds.sort_unstable();
        let at = |share: f64| {
            let place = (nanoseconds.len() as f64 * share).ceil() as usize;
            let nanoseconds = nanoseconds.get(place.saturating_sub(1)).copied().unwrap_or(0);
            (nanoseconds as f64 / 1e3).round() / 1e3
        };
        self.recoveries = nanoseconds.len();
        self.recovery_p50_ms = at(0.5);
        self.recovery_p99_ms = at(0.99);
        self.max_recovery_ms = at(1.0);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string_pretty(self).map_err(|_| fmt::Error)?;
        for (name, value) in json.lines().filter_map(|line| line.split_once(": ")) {
            let name = name.trim_matches([' ', '"']).replace('_', " ");
            writeln!(f, "  {name:<20} {:>14}", value.trim_matches([',', '"']))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::journal::Tally, *};

    type Word = fn(&Flow) -> &Tally;

    /// Judges a stream of ten messages that have all arrived, after these changes.
    fn judged(changes: &[(Word, u64)], receiver_lived: bool) -> Faults {
        let flow = Flow::default();
        let all_well: [Word; 3] = [|f| &f.begun, |f| &f.done, |f| &f.received];
        all_well.iter().for_each(|word| word(&flow).set(10));
        changes.iter().for_each(|(word, value)| word(&flow).set(*value));
        judge_flow(&flow, receiver_lived)
    }

    const WELL: Faults = Faults { lost: 0, duplicates: 0, out_of_order: 0, corrupt: 0 };

    #[test]
    fn the_one_call_under_way_may_have_happened_or_not() {
        for (received, faults) in [
            (9, WELL),
            (10, WELL),
            (8, Faults { lost: 1, ..WELL }),
            (11, Faults { duplicates: 1, ..WELL }),
        ] {
            assert_eq!(judged(&[(|f| &f.done, 9), (|f| &f.received, received)], true), faults);
        }
    }

    #[test]
    fn messages_that_a_dead_receiver_did_not_take_are_not_lost() {
        assert_eq!(judged(&[(|f| &f.received, 3)], false), WELL);
        assert_eq!(judged(&[(|f| &f.received, 3)], true).lost, 7);
    }

    #[test]
    fn counted_messages_are_neither_lost_nor_out_of_order() {
        for (counted, faults) in [(2, WELL), (1, Faults { lost: 1, out_of_order: 1, ..WELL })] {
            let changes: [(Word, u64); 3] =
                [(|f| &f.received, 8), (|f| &f.counted, counted), (|f| &f.skipped, 2)];
            assert_eq!(judged(&changes, true), faults);
        }
    }

    #[test]
    fn an_acknowledgement_without_a_run_is_a_fault_whichever_side_lived_on() {
        assert_eq!(judged(&[(|f| &f.acknowledged, 5), (|f| &f.received, 4)], false).lost, 1);
    }

    #[test]
    fn a_renderer_must_have_seen_the_last_message_of_a_dead_main() {
        let (board, _descriptor) = Board::create().unwrap();
        let record = board.begin(0, 1, true);
        let main = board.main(1);
        main.published_done.set(20);
        assert_eq!(judge(record, main, Survivor::Renderer), WELL);
        record.topic.last.set(19);
        assert_eq!(judge(record, main, Survivor::Renderer).lost, 1);
        assert_eq!(judge(record, main, Survivor::Main).lost, 0);
        record.topic.last.set(21);
        assert_eq!(judge(record, main, Survivor::Renderer), WELL);
    }

    #[test]
    fn percentiles_are_of_the_times_themselves() {
        let mut summary = Summary::default();
        summary.set_recoveries((1..=200).rev().map(|ms| ms * 1_000_000).collect());
        assert_eq!(summary.recoveries, 200);
        assert_eq!((summary.recovery_p50_ms, summary.recovery_p99_ms), (100.0, 198.0));
        assert_eq!(summary.max_recovery_ms, 200.0);
        summary.set_recoveries(Vec::new());
        assert_eq!(summary.max_recovery_ms, 0.0);
        assert_eq!(
            summary.to_string().lines().nth(5),
            Some("  kills                             0")
        );
    }

    #[test]
    fn one_fault_of_any_kind_is_a_failure() {
        assert!(Summary::default().is_good());
        let faults: [fn(&mut Summary); 10] = [
            |summary| summary.faults.lost = 1,
            |summary| summary.faults.duplicates = 1,
            |summary| summary.faults.out_of_order = 1,
            |summary| summary.faults.corrupt = 1,
            |summary| summary.violations = 1,
            |summary| summary.leaks = 1,
            |summary| (summary.left_behind, summary.kills) = (3, 20),
            |summary| summary.hangs = 1,
            |summary| summary.crashes = 1,
            |summary| summary.unexpected = 1,
        ];
        for fault in faults {
            let mut summary = Summary::default();
            fault(&mut summary);
            assert!(!summary.is_good(), "{summary:?}");
        }
    }
}
