//! The checks of the comparison, as far as one run can decide them. A check that fails is printed as such.

use serde::Serialize;
use serde_json::{Value, json};

use super::cell::{
    BOTH_CPU, Cell, LOST, Metric, Outcome, P50, P999, Placement, RATE, RATIO, RENDERER_CPU,
    SEND_P50, UNWOKEN, present,
};
use crate::{
    pair::job::{SMALL, Setting, Task, Work},
    stats::Spread,
    units,
};

struct Claim {
    text: &'static str,
    subject: &'static str,
    task: Task,
    metric: Metric,
    /// The subject that the figure is divided by, at the same task in the same round. Empty: it is not divided.
    against: &'static str,
    bound: Bound,
    near_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// Nothing is claimed; the figure explains another one.
    Shown,
}

pub(super) struct Check {
    claim: &'static Claim,
    measured: Option<Spread>,
    rounds: usize,
    /// Whether the cell was measured, but never between near processors.
    never_near: bool,
}

const SPIN: &str = "ringbridge-spin";
const ADAPTIVE: &str = "ringbridge-adaptive";
const PARK: &str = "ringbridge-park";
const PORTABLE_SPIN: &str = "ringbridge-portable-spin";
const PORTABLE_PARK: &str = "ringbridge-portable-park";
const IN_PLACE: &str = "ringbridge-in-place";
const SEND_ALL: &str = "ringbridge-send-all";

const INVOKE: Task = Task::new(Work::RoundTrip, SMALL);
const INVOKE_1K: Task = Task::new(Work::RoundTrip, 1 << 10);
const INVOKE_64K: Task = Task::new(Work::RoundTrip, 64 << 10);
const INVOKE_1M: Task = Task::new(Work::RoundTrip, 1 << 20);
const STREAM_1K: Task = Task::new(Work::Stream, 1 << 10);
const STREAM: Task = Task::new(Work::Stream, SMALL);
const STREAM_64K: Task = Task::new(Work::Stream, 64 << 10);
const STREAM_1M: Task = Task::new(Work::Stream, 1 << 20);
const STREAM_16M: Task = Task::new(Work::Stream, 16 << 20);
const PUSH_1K: Task = Task { rate_hz: 1_000, ..Task::new(Work::Push, SMALL) };
const PUSH_1K_AWAKE: Task = Task { setting: Setting::SenderAwake, ..PUSH_1K };
const PUSH_100K: Task = Task { rate_hz: 100_000, ..PUSH_1K };
const INVOKE_ONE_CORE: Task = Task { setting: Setting::OneCore, ..INVOKE };
const IDLE: Task = Task::new(Work::Idle, SMALL);

const TIME_EACH: Metric = |outcome| RATE(outcome).map(|rate| 1e9 / rate);
const SWITCHES: Metric = |outcome| Some(outcome.switches?.iter().sum::<u64>() as f64);

use Bound::{AtLeast, AtMost, Shown};

/// Makes a row of the table. `against` is a subject's name, or empty for the figure itself.
const fn row(
    text: &'static str,
    subject: &'static str,
    task: Task,
    metric: Metric,
    against: &'static str,
    bound: Bound,
) -> Claim {
    Claim { text, subject, task, metric, against, bound, near_only: false }
}

const fn near(claim: Claim) -> Claim {
    Claim { near_only: true, ..claim }
}

/// All claims: text, subject, task, metric, the subject to compare with, bound.
#[rustfmt::skip]
const CLAIMS: &[Claim] = &[
    row("invoke 48 B spin: p50 in floors", SPIN, INVOKE, RATIO, "", AtMost(1.3)),
    row("of that: a line each way with one writer, in floors", "bounce-two-lines", INVOKE, RATIO, "", Shown),
    row("of that: a bare ring each way with one writer, in floors", "bare-ring", INVOKE, RATIO, "", Shown),
    row("invoke 48 B spin: p50 against the bare ring's", SPIN, INVOKE, P50, "bare-ring", Shown),
    row("invoke 48 B spin: p50 against iceoryx2's request-response", SPIN, INVOKE, P50, "iceoryx2-request", AtMost(0.15)),
    row("invoke 48 B spin: p50 against shmem-ipc's bare ring", SPIN, INVOKE, P50, "shmem-ipc", AtMost(0.6)),
    row("invoke 48 B spin: p50 against rtrb between threads", SPIN, INVOKE, P50, "rtrb", AtMost(0.65)),
    row("invoke 1 KiB spin: p50 against shmem-ipc's bare ring", SPIN, INVOKE_1K, P50, "shmem-ipc", AtMost(1.0)),
    row("invoke 1 KiB spin: p50 against rtrb between threads", SPIN, INVOKE_1K, P50, "rtrb", AtMost(1.0)),
    row("invoke 64 KiB spin: p50 against shmem-ipc's bare ring", SPIN, INVOKE_64K, P50, "shmem-ipc", AtMost(0.95)),
    row("invoke 64 KiB spin: p50 against iceoryx2's request-response", SPIN, INVOKE_64K, P50, "iceoryx2-request", AtMost(0.75)),
    row("invoke 1 MiB spin: p50 against iceoryx2's request-response", SPIN, INVOKE_1M, P50, "iceoryx2-request", AtMost(0.95)),
    row("invoke 1 KiB adaptive: p50 against spin", ADAPTIVE, INVOKE_1K, P50, SPIN, AtMost(1.15)),
    row("invoke 64 KiB adaptive: p50 against spin", ADAPTIVE, INVOKE_64K, P50, SPIN, AtMost(1.15)),
    row("invoke 1 MiB adaptive: p50 against spin", ADAPTIVE, INVOKE_1M, P50, SPIN, AtMost(1.15)),
    row("invoke 48 B spin: p99.9 against the bounce's", SPIN, INVOKE, P999, "bounce", AtMost(2.0)),
    row("invoke 48 B adaptive: p50 against spin", ADAPTIVE, INVOKE, P50, SPIN, AtMost(1.1)),
    row("invoke 48 B park: p50 against a bare futex round trip", PARK, INVOKE, P50, "futex", AtMost(1.1)),
    row("invoke 48 B park: p50 against the Unix socket", PARK, INVOKE, P50, "seqpacket", AtMost(1.0)),
    row("invoke 48 B park: p50 against iceoryx2's event", PARK, INVOKE, P50, "iceoryx2-event", AtMost(1.0)),
    row("invoke 48 B spin, portable: p50 against sealed", PORTABLE_SPIN, INVOKE, P50, SPIN, AtMost(1.1)),
    row("invoke 48 B park, portable: p50 against sealed (event against futex)", PORTABLE_PARK, INVOKE, P50, PARK, Shown),
    row("invoke 48 B park, portable: p50 against a bare round trip of raw_sync's events", PORTABLE_PARK, INVOKE, P50, "raw-sync", Shown),
    near(row("stream 48 B send, near: rate against rtrb between threads", SPIN, STREAM, RATE, "rtrb", AtLeast(1.5))),
    near(row("stream 48 B send, near: rate against iceoryx2's", SPIN, STREAM, RATE, "iceoryx2", AtLeast(10.0))),
    near(row("stream 48 B send, near: messages a second", SPIN, STREAM, RATE, "", AtLeast(40e6))),
    near(row("stream 1 KiB send, near: messages a second", SPIN, STREAM_1K, RATE, "", AtLeast(10e6))),
    row("stream 1 KiB send: rate against rtrb between threads", SPIN, STREAM_1K, RATE, "rtrb", AtLeast(1.0)),
    row("stream 64 KiB to main: rate against shmem-ipc's bare ring", SPIN, STREAM_64K, RATE, "shmem-ipc", AtLeast(0.9)),
    row("stream 64 KiB in place: rate against shmem-ipc's bare ring", IN_PLACE, STREAM_64K, RATE, "shmem-ipc", AtLeast(1.1)),
    near(row("stream 48 B send_all, near: messages a second", SEND_ALL, STREAM, RATE, "", AtLeast(20e6))),
    near(row("stream 48 B send_all, near: rate against iceoryx2's", SEND_ALL, STREAM, RATE, "iceoryx2", AtLeast(6.0))),
    row("stream 64 KiB in place: rate against memcpy", IN_PLACE, STREAM_64K, RATE, "memcpy", AtLeast(0.8)),
    row("stream 1 MiB in place: rate against memcpy", IN_PLACE, STREAM_1M, RATE, "memcpy", AtLeast(0.8)),
    row("stream 64 KiB in place: rate against a copy by one process that the other reads", IN_PLACE, STREAM_64K, RATE, "memcpy-across", AtLeast(0.8)),
    row("stream 1 MiB in place: rate against a copy by one process that the other reads", IN_PLACE, STREAM_1M, RATE, "memcpy-across", AtLeast(0.8)),
    row("stream 16 MiB to main: time of each against a copy into new pages", SPIN, STREAM_16M, TIME_EACH, "memcpy-fresh", AtMost(1.2)),
    row("stream 16 MiB to a renderer: time of each against a copy into new pages", IN_PLACE, STREAM_16M, TIME_EACH, "memcpy-fresh", AtMost(1.2)),
    row("stream 16 MiB to main: rate against ipc-channel's bytes", SPIN, STREAM_16M, RATE, "ipc-channel", AtLeast(5.0)),
    row("stream 16 MiB to main: rate against ipc-channel's shared memory", SPIN, STREAM_16M, RATE, "ipc-channel-shared", AtLeast(5.0)),
    row("stream 16 MiB to a renderer: rate against ipc-channel's bytes", IN_PLACE, STREAM_16M, RATE, "ipc-channel", AtLeast(5.0)),
    row("stream 16 MiB to a renderer: rate against ipc-channel's shared memory", IN_PLACE, STREAM_16M, RATE, "ipc-channel-shared", AtLeast(5.0)),
    row("push 100 kHz adaptive: p50 in ns", ADAPTIVE, PUSH_100K, P50, "", AtMost(1000.0)),
    row("push 100 kHz adaptive: lost", ADAPTIVE, PUSH_100K, LOST, "", AtMost(0.0)),
    row("push 1 kHz adaptive, sender awake: p50 in ns", ADAPTIVE, PUSH_1K_AWAKE, P50, "", AtMost(500.0)),
    row("push 1 kHz adaptive, sender awake: the receiver's part of a core", ADAPTIVE, PUSH_1K_AWAKE, RENDERER_CPU, "", AtMost(0.12)),
    row("push 1 kHz adaptive, sender awake: p50 of the sender's send in ns", ADAPTIVE, PUSH_1K_AWAKE, SEND_P50, "", AtMost(200.0)),
    row("push 1 kHz adaptive, sender awake: part of the pushes without a wake-up", ADAPTIVE, PUSH_1K_AWAKE, UNWOKEN, "", AtLeast(0.99)),
    row("push 1 kHz adaptive: p50 against spin", ADAPTIVE, PUSH_1K, P50, SPIN, AtMost(1.1)),
    row("push 1 kHz adaptive: the receiver's part of a core", ADAPTIVE, PUSH_1K, RENDERER_CPU, "", AtMost(0.12)),
    row("invoke 48 B adaptive, one core: p50 against park", ADAPTIVE, INVOKE_ONE_CORE, P50, PARK, AtMost(1.0)),
    row("push 1 kHz park: CPU of both against a bare futex pair", PARK, PUSH_1K, BOTH_CPU, "futex", AtMost(1.2)),
    row("idle adaptive: voluntary context switches of both", ADAPTIVE, IDLE, SWITCHES, "", AtMost(0.0)),
    row("idle park: voluntary context switches of both", PARK, IDLE, SWITCHES, "", AtMost(0.0)),
];

pub(super) fn check(cells: &[Cell]) -> Vec<Check> {
    CLAIMS.iter().map(|claim| claim.decide(cells)).collect()
}

impl Claim {
    fn decide(&'static self, cells: &[Cell]) -> Check {
        let values = self.values(cells);
        let never_near = self.near_only
            && values.is_empty()
            && self.cell(cells, self.subject).is_some_and(|cell| cell.outcomes().next().is_some());
        let rounds = values.len();
        Check { claim: self, measured: Spread::of(values), rounds, never_near }
    }

    /// Returns one value a round. Slices are compared if both were between near or both between far
    /// processors. If there is no such round, all slices are compared.
    fn values(&self, cells: &[Cell]) -> Vec<f64> {
        let Some(own) = self.cell(cells, self.subject) else { return Vec::new() };
        let own = own.outcomes().filter(|(_, outcome)| self.counts(outcome));
        if self.against.is_empty() {
            return own.filter_map(|(_, outcome)| (self.metric)(outcome)).collect();
        }
        let Some(other) = self.cell(cells, self.against) else { return Vec::new() };
        let rounds = own.filter_map(|(round, one)| {
            let (_, other) = other.outcomes().find(|(other, _)| *other == round)?;
            let divisor = (self.metric)(other).filter(|divisor| *divisor > 0.0)?;
            let ratio = (self.metric)(one)? / divisor;
            let placement = one.placement();
            let alike = placement != Placement::Moved && placement == other.placement();
            self.counts(other).then_some((alike, ratio))
        });
        let rounds: Vec<(bool, f64)> = rounds.collect();
        let any_alike = rounds.iter().any(|(alike, _)| *alike);
        let compared = rounds.iter().filter(|(alike, _)| *alike || !any_alike);
        compared.map(|(_, ratio)| *ratio).collect()
    }

    fn counts(&self, outcome: &Outcome) -> bool {
        !self.near_only || outcome.placement() == Placement::Near
    }

    fn cell<'a>(&self, cells: &'a [Cell], subject: &str) -> Option<&'a Cell> {
        cells.iter().find(|cell| cell.subject.name == subject && cell.task == self.task)
    }
}

impl Check {
    pub(super) fn claim(&self) -> &'static str {
        self.claim.text
    }

    pub(super) fn figures(&self) -> (String, String) {
        let required = match self.claim.bound {
            AtMost(most) => format!("<= {}", units::short(most)),
            AtLeast(least) => format!(">= {}", units::short(least)),
            Shown => "-".to_owned(),
        };
        let measured = self.measured.map(|Spread { median, min, max }| {
            format!("{} ({} to {})", units::short(median), units::short(min), units::short(max))
        });
        (required, measured.unwrap_or_else(|| "nothing".to_owned()))
    }

    /// Returns whether its cells were not measured at all.
    pub(super) fn is_open(&self) -> bool {
        self.measured.is_none() && !self.never_near
    }

    pub(super) fn verdict(&self) -> &'static str {
        match (self.measured, self.claim.bound) {
            (None, _) => "not-measured",
            (Some(_), Shown) => "shown",
            (Some(spread), AtMost(most)) if spread.median <= most => "ok",
            (Some(spread), AtLeast(least)) if spread.median >= least => "ok",
            _ => "not-met",
        }
    }

    pub(super) fn shown(&self) -> String {
        match self.verdict() {
            "not-measured" if self.never_near => "no slice was near".to_owned(),
            "not-met" => "NOT MET".to_owned(),
            verdict => verdict.replace('-', " "),
        }
    }

    pub(super) fn json(&self) -> Value {
        present(json!({
            "kind": "check",
            "claim": self.claim.text,
            "verdict": self.verdict(),
            "bound": self.claim.bound,
            "measured": self.measured,
            "rounds": self.rounds,
            "never_near": self.never_near.then_some(true),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::tests::{cell_of, outcome};

    fn verdict(cells: &[Cell], claim: &str) -> Check {
        check(cells).into_iter().find(|check| check.claim() == claim).unwrap()
    }

    #[test]
    fn a_claim_is_decided_by_the_median_of_the_rounds_ratios() {
        let spin =
            |last| cell_of(SPIN, Work::RoundTrip, vec![outcome(100), outcome(200), outcome(last)]);
        let adaptive =
            cell_of(ADAPTIVE, Work::RoundTrip, vec![outcome(109), outcome(300), outcome(100)]);
        let claim = "invoke 48 B adaptive: p50 against spin";
        let both = [spin(100), adaptive];
        let decided = verdict(&both, claim);
        assert_eq!((decided.verdict(), decided.rounds), ("ok", 3));
        let [_, adaptive] = both;
        assert_eq!(verdict(&[spin(50), adaptive], claim).verdict(), "not-met");
    }

    #[test]
    fn slices_at_different_places_are_not_compared_if_others_can_be() {
        let far = Outcome { floors_ns: [500, 500], ..outcome(1000) };
        let spin = cell_of(SPIN, Work::RoundTrip, vec![outcome(100), outcome(100)]);
        let adaptive = cell_of(ADAPTIVE, Work::RoundTrip, vec![far.clone(), outcome(100)]);
        let claim = "invoke 48 B adaptive: p50 against spin";
        assert_eq!(verdict(&[spin, adaptive], claim).rounds, 1);
        let stream = |subject| cell_of(subject, Work::Stream, vec![far.clone()]);
        let near = "stream 48 B send, near: rate against iceoryx2's";
        let open = verdict(&[stream(SPIN)], near);
        assert_eq!(
            (open.verdict(), open.shown()),
            ("not-measured", "no slice was near".to_owned())
        );
    }

    #[test]
    fn the_portable_backend_is_held_to_the_sealed_ones_figures() {
        let cell = |subject, p50| cell_of(subject, Work::RoundTrip, vec![outcome(p50)]);
        let spin = "invoke 48 B spin, portable: p50 against sealed";
        for (p50, expected) in [(109, "ok"), (112, "not-met")] {
            let cells = [cell(SPIN, 100), cell(PORTABLE_SPIN, p50)];
            assert_eq!(verdict(&cells, spin).verdict(), expected);
        }
        let park = "invoke 48 B park, portable: p50 against sealed (event against futex)";
        let cells = [cell(PARK, 100), cell(PORTABLE_PARK, 150)];
        assert_eq!(verdict(&cells, park).figures().1, "1.500 (1.500 to 1.500)");
    }

    #[test]
    fn what_was_not_measured_is_not_decided() {
        assert!(check(&[]).iter().all(|check| check.verdict() == "not-measured"));
    }
}
