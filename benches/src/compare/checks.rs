//! What must hold, as far as this command can decide it. Nothing here is tuned: a claim that does not
//! hold is printed as such.

use serde::Serialize;

use crate::{
    compare::{
        figures::Placement,
        run::Cell,
        slice::Outcome,
        work::{LARGE, SMALL, Setting, Task, Work},
    },
    stats::Spread,
};

/// A figure of a slice.
type Metric = fn(&Outcome) -> Option<f64>;

/// What is claimed of a subject at a task.
struct Claim {
    text: &'static str,
    subject: &'static str,
    task: Task,
    measure: Measure,
    bound: Bound,
    /// Only slices between near processors count.
    near_only: bool,
}

enum Measure {
    /// The figure itself.
    Value(Metric),
    /// In figures of another subject at the same task in the same round.
    Against(&'static str, Metric),
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// Nothing is claimed: it says what lies between two figures of which one is.
    Shown,
}

/// Whether a claim holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Ok,
    NotMet,
    NotMeasured,
    /// Not a claim.
    Shown,
}

/// A claim and what was measured.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    kind: &'static str,
    pub(super) claim: &'static str,
    verdict: Verdict,
    bound: Bound,
    #[serde(skip_serializing_if = "Option::is_none")]
    measured: Option<Spread>,
    /// How many rounds could be compared.
    rounds: usize,
    /// The cell was measured, but never where it counts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    never_near: bool,
}

const SPIN: &str = "ringbridge-spin";
const ADAPTIVE: &str = "ringbridge-adaptive";
const PARK: &str = "ringbridge-park";
const PORTABLE_SPIN: &str = "ringbridge-portable-spin";
const PORTABLE_PARK: &str = "ringbridge-portable-park";
const IN_PLACE: &str = "ringbridge-in-place";
const SEND_ALL: &str = "ringbridge-send-all";
const TWO_LINES: &str = "bounce-two-lines";
const BARE_RING: &str = "bare-ring";

const fn task(work: Work, payload: usize, rate_hz: u64) -> Task {
    Task { work, payload, rate_hz, setting: Setting::Usual }
}

const INVOKE: Task = task(Work::RoundTrip, SMALL, 0);
const STREAM: Task = task(Work::Stream, SMALL, 0);
const STREAM_64K: Task = task(Work::Stream, 64 << 10, 0);
const STREAM_1M: Task = task(Work::Stream, 1 << 20, 0);
const STREAM_16M: Task = task(Work::Stream, LARGE, 0);
const PUSH_1K: Task = task(Work::Push, SMALL, 1_000);
const PUSH_1K_AWAKE: Task = Task { setting: Setting::SenderAwake, ..PUSH_1K };
const INVOKE_ONE_CORE: Task = Task { setting: Setting::OneCore, ..INVOKE };
const PUSH_100K: Task = task(Work::Push, SMALL, 100_000);
const IDLE: Task = task(Work::Idle, SMALL, 0);

const P50: Metric = |outcome| outcome.latency_ns(0.5);
const P999: Metric = |outcome| outcome.latency_ns(0.999);
const RATE: Metric = Outcome::per_second;
/// How long each message of a stream took.
const TIME_EACH: Metric = |outcome| outcome.per_second().map(|rate| 1e9 / rate);
const LOST: Metric = |outcome| outcome.cost.as_ref().map(|_| outcome.lost as f64);
const RENDERER_CPU: Metric = |outcome| outcome.cpu().map(|cpu| cpu[1]);
const BOTH_CPU: Metric = |outcome| outcome.cpu().map(|cpu| cpu[0] + cpu[1]);
const SWITCHES: Metric =
    |outcome| outcome.switches.map(|switches| switches.iter().sum::<u64>() as f64);

use Bound::{AtLeast, AtMost, Shown};
use Measure::{Against, Value};

fn claims() -> Vec<Claim> {
    let claim = |text, subject, task, measure, bound| Claim {
        text,
        subject,
        task,
        measure,
        bound,
        near_only: false,
    };
    let near = |claim: Claim| Claim { near_only: true, ..claim };
    vec![
        claim("invoke 48 B spin: p50 in floors", SPIN, INVOKE, Value(Outcome::ratio), AtMost(1.3)),
        claim(
            "of that: a line each way with one writer, in floors",
            TWO_LINES,
            INVOKE,
            Value(Outcome::ratio),
            Shown,
        ),
        claim(
            "of that: a bare ring each way with one writer, in floors",
            BARE_RING,
            INVOKE,
            Value(Outcome::ratio),
            Shown,
        ),
        claim(
            "invoke 48 B spin: p50 against the bare ring's",
            SPIN,
            INVOKE,
            Against(BARE_RING, P50),
            Shown,
        ),
        claim(
            "invoke 48 B spin: p50 against iceoryx2's request-response",
            SPIN,
            INVOKE,
            Against("iceoryx2-request", P50),
            AtMost(0.2),
        ),
        claim(
            "invoke 48 B spin: p50 against shmem-ipc's bare ring",
            SPIN,
            INVOKE,
            Against("shmem-ipc", P50),
            AtMost(0.5),
        ),
        claim(
            "invoke 48 B spin: p50 against rtrb between threads",
            SPIN,
            INVOKE,
            Against("rtrb", P50),
            AtMost(1.0),
        ),
        claim(
            "invoke 48 B spin: p99.9 against the bounce's",
            SPIN,
            INVOKE,
            Against("bounce", P999),
            AtMost(2.0),
        ),
        claim(
            "invoke 48 B adaptive: p50 against spin",
            ADAPTIVE,
            INVOKE,
            Against(SPIN, P50),
            AtMost(1.1),
        ),
        claim(
            "invoke 48 B park: p50 against a bare futex round trip",
            PARK,
            INVOKE,
            Against("futex", P50),
            AtMost(1.15),
        ),
        claim(
            "invoke 48 B park: p50 against the Unix socket",
            PARK,
            INVOKE,
            Against("seqpacket", P50),
            AtMost(1.0),
        ),
        claim(
            "invoke 48 B park: p50 against iceoryx2's event",
            PARK,
            INVOKE,
            Against("iceoryx2-event", P50),
            AtMost(1.0),
        ),
        claim(
            "invoke 48 B spin, portable: p50 against sealed",
            PORTABLE_SPIN,
            INVOKE,
            Against(SPIN, P50),
            AtMost(1.1),
        ),
        claim(
            "invoke 48 B park, portable: p50 against sealed (event against futex)",
            PORTABLE_PARK,
            INVOKE,
            Against(PARK, P50),
            Shown,
        ),
        claim(
            "invoke 48 B park, portable: p50 against a bare round trip of raw_sync's events",
            PORTABLE_PARK,
            INVOKE,
            Against("raw-sync", P50),
            Shown,
        ),
        near(claim(
            "stream 48 B send, near: rate against rtrb between threads",
            SPIN,
            STREAM,
            Against("rtrb", RATE),
            AtLeast(1.0),
        )),
        near(claim(
            "stream 48 B send, near: rate against iceoryx2's",
            SPIN,
            STREAM,
            Against("iceoryx2", RATE),
            AtLeast(6.0),
        )),
        near(claim(
            "stream 48 B send_all, near: messages a second",
            SEND_ALL,
            STREAM,
            Value(RATE),
            AtLeast(20e6),
        )),
        near(claim(
            "stream 48 B send_all, near: rate against iceoryx2's",
            SEND_ALL,
            STREAM,
            Against("iceoryx2", RATE),
            AtLeast(6.0),
        )),
        claim(
            "stream 64 KiB in place: rate against memcpy",
            IN_PLACE,
            STREAM_64K,
            Against("memcpy", RATE),
            AtLeast(0.8),
        ),
        claim(
            "stream 1 MiB in place: rate against memcpy",
            IN_PLACE,
            STREAM_1M,
            Against("memcpy", RATE),
            AtLeast(0.8),
        ),
        claim(
            "stream 64 KiB in place: rate against a copy by one process that the other reads",
            IN_PLACE,
            STREAM_64K,
            Against("memcpy-across", RATE),
            AtLeast(0.8),
        ),
        claim(
            "stream 1 MiB in place: rate against a copy by one process that the other reads",
            IN_PLACE,
            STREAM_1M,
            Against("memcpy-across", RATE),
            AtLeast(0.8),
        ),
        claim(
            "stream 16 MiB to main: time of each against a copy into new pages",
            SPIN,
            STREAM_16M,
            Against("memcpy-fresh", TIME_EACH),
            AtMost(1.2),
        ),
        claim(
            "stream 16 MiB to a renderer: time of each against a copy into new pages",
            IN_PLACE,
            STREAM_16M,
            Against("memcpy-fresh", TIME_EACH),
            AtMost(1.2),
        ),
        claim(
            "stream 16 MiB to main: rate against ipc-channel's bytes",
            SPIN,
            STREAM_16M,
            Against("ipc-channel", RATE),
            AtLeast(5.0),
        ),
        claim(
            "stream 16 MiB to main: rate against ipc-channel's shared memory",
            SPIN,
            STREAM_16M,
            Against("ipc-channel-shared", RATE),
            AtLeast(5.0),
        ),
        claim(
            "stream 16 MiB to a renderer: rate against ipc-channel's bytes",
            IN_PLACE,
            STREAM_16M,
            Against("ipc-channel", RATE),
            AtLeast(5.0),
        ),
        claim(
            "stream 16 MiB to a renderer: rate against ipc-channel's shared memory",
            IN_PLACE,
            STREAM_16M,
            Against("ipc-channel-shared", RATE),
            AtLeast(5.0),
        ),
        claim("push 100 kHz adaptive: p50 in ns", ADAPTIVE, PUSH_100K, Value(P50), AtMost(1000.0)),
        claim("push 100 kHz adaptive: lost", ADAPTIVE, PUSH_100K, Value(LOST), AtMost(0.0)),
        claim(
            "push 1 kHz adaptive, sender awake: p50 in ns",
            ADAPTIVE,
            PUSH_1K_AWAKE,
            Value(P50),
            AtMost(500.0),
        ),
        claim(
            "push 1 kHz adaptive, sender awake: the receiver's part of a core",
            ADAPTIVE,
            PUSH_1K_AWAKE,
            Value(RENDERER_CPU),
            AtMost(0.12),
        ),
        claim(
            "push 1 kHz adaptive, sender awake: p50 of the sender's send in ns",
            ADAPTIVE,
            PUSH_1K_AWAKE,
            Value(Outcome::send_p50_ns),
            AtMost(200.0),
        ),
        claim(
            "push 1 kHz adaptive, sender awake: part of the pushes without a wake-up",
            ADAPTIVE,
            PUSH_1K_AWAKE,
            Value(Outcome::unwoken),
            AtLeast(0.99),
        ),
        claim(
            "push 1 kHz adaptive: p50 against spin",
            ADAPTIVE,
            PUSH_1K,
            Against(SPIN, P50),
            AtMost(1.1),
        ),
        claim(
            "push 1 kHz adaptive: the receiver's part of a core",
            ADAPTIVE,
            PUSH_1K,
            Value(RENDERER_CPU),
            AtMost(0.12),
        ),
        claim(
            "invoke 48 B adaptive, one core: p50 against park",
            ADAPTIVE,
            INVOKE_ONE_CORE,
            Against(PARK, P50),
            AtMost(1.0),
        ),
        claim(
            "push 1 kHz park: CPU of both against a bare futex pair",
            PARK,
            PUSH_1K,
            Against("futex", BOTH_CPU),
            AtMost(1.2),
        ),
        claim(
            "idle adaptive: voluntary context switches of both",
            ADAPTIVE,
            IDLE,
            Value(SWITCHES),
            AtMost(0.0),
        ),
        claim(
            "idle park: voluntary context switches of both",
            PARK,
            IDLE,
            Value(SWITCHES),
            AtMost(0.0),
        ),
    ]
}

/// Every claim, decided by these cells where they can.
pub(super) fn check(cells: &[Cell]) -> Vec<Check> {
    claims().into_iter().map(|claim| claim.decide(cells)).collect()
}

impl Claim {
    fn decide(self, cells: &[Cell]) -> Check {
        let values = self.values(cells);
        let never_near = self.near_only
            && values.is_empty()
            && self.cell(cells, self.subject).is_some_and(|cell| cell.visits().next().is_some());
        let rounds = values.len();
        let measured = Spread::of(values);
        let verdict = match (measured, self.bound) {
            (None, _) => Verdict::NotMeasured,
            (Some(_), Shown) => Verdict::Shown,
            (Some(spread), AtMost(most)) if spread.median <= most => Verdict::Ok,
            (Some(spread), AtLeast(least)) if spread.median >= least => Verdict::Ok,
            _ => Verdict::NotMet,
        };
        let (claim, bound) = (self.text, self.bound);
        Check { kind: "check", claim, verdict, bound, measured, rounds, never_near }
    }

    /// One value a round. Slices are compared where both were between near or both between far
    /// processors; if there is no such round, all are.
    fn values(&self, cells: &[Cell]) -> Vec<f64> {
        let Some(own) = self.cell(cells, self.subject) else { return Vec::new() };
        match self.measure {
            Value(metric) => own
                .visits()
                .filter(|(_, visit)| self.counts(&visit.outcome))
                .filter_map(|(_, visit)| metric(&visit.outcome))
                .collect(),
            Against(other, metric) => {
                let Some(other) = self.cell(cells, other) else { return Vec::new() };
                let rounds: Vec<(&Outcome, &Outcome)> = own
                    .visits()
                    .filter_map(|(round, visit)| {
                        let (_, beside) = other.visits().find(|(other, _)| *other == round)?;
                        Some((&visit.outcome, &beside.outcome))
                    })
                    .filter(|(one, other)| self.counts(one) && self.counts(other))
                    .collect();
                let ratio = |(one, other): (&Outcome, &Outcome)| {
                    let other = metric(other)?;
                    (other > 0.0).then_some(metric(one)? / other)
                };
                let alike = |(one, other): &(&Outcome, &Outcome)| {
                    one.placement() != Placement::Moved && one.placement() == other.placement()
                };
                let alike: Vec<f64> =
                    rounds.iter().copied().filter(alike).filter_map(ratio).collect();
                if alike.is_empty() {
                    rounds.into_iter().filter_map(ratio).collect()
                } else {
                    alike
                }
            }
        }
    }

    fn counts(&self, outcome: &Outcome) -> bool {
        !self.near_only || outcome.placement() == Placement::Near
    }

    fn cell<'a>(&self, cells: &'a [Cell], subject: &str) -> Option<&'a Cell> {
        cells.iter().find(|cell| cell.subject.name() == subject && cell.task == self.task)
    }
}

impl Check {
    /// What is required, and what was measured, for people.
    pub(super) fn figures(&self) -> (String, String) {
        let required = match self.bound {
            AtMost(most) => format!("<= {}", Short(most)),
            AtLeast(least) => format!(">= {}", Short(least)),
            Shown => "-".to_owned(),
        };
        let measured = self.measured.map_or_else(
            || "nothing".to_owned(),
            |Spread { median, min, max }| {
                format!("{} ({} to {})", Short(median), Short(min), Short(max))
            },
        );
        (required, measured)
    }

    /// Whether its cells were not measured at all.
    pub(super) fn is_open(&self) -> bool {
        self.verdict == Verdict::NotMeasured && !self.never_near
    }

    pub(super) fn verdict(&self) -> &'static str {
        match self.verdict {
            Verdict::NotMeasured if self.never_near => "no slice was near",
            Verdict::Ok => "ok",
            Verdict::NotMet => "NOT MET",
            Verdict::NotMeasured => "not measured",
            Verdict::Shown => "shown",
        }
    }
}

/// A number with as many digits as mean something.
struct Short(f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(value) = *self;
        if value == value.round() || value.abs() >= 100.0 {
            write!(f, "{value:.0}")
        } else if value.abs() >= 10.0 {
            write!(f, "{value:.1}")
        } else {
            write!(f, "{value:.3}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::samples::{cell_of, outcome};

    fn verdict(cells: &[Cell], claim: &str) -> Check {
        check(cells).into_iter().find(|check| check.claim == claim).unwrap()
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
        assert_eq!((decided.verdict, decided.rounds), (Verdict::Ok, 3));
        let [_, adaptive] = both;
        assert_eq!(verdict(&[spin(50), adaptive], claim).verdict, Verdict::NotMet);
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
        assert_eq!((open.verdict, open.verdict()), (Verdict::NotMeasured, "no slice was near"));
    }

    #[test]
    fn the_portable_backend_is_held_to_the_sealed_ones_figures() {
        let cell = |subject, p50| cell_of(subject, Work::RoundTrip, vec![outcome(p50)]);
        let spin = "invoke 48 B spin, portable: p50 against sealed";
        for (p50, expected) in [(109, Verdict::Ok), (112, Verdict::NotMet)] {
            let cells = [cell(SPIN, 100), cell(PORTABLE_SPIN, p50)];
            assert_eq!(verdict(&cells, spin).verdict, expected);
        }
        let park = "invoke 48 B park, portable: p50 against sealed (event against futex)";
        let cells = [cell(PARK, 100), cell(PORTABLE_PARK, 150)];
        assert_eq!(verdict(&cells, park).figures().1, "1.500 (1.500 to 1.500)");
    }

    #[test]
    fn what_was_not_measured_is_not_decided() {
        assert!(check(&[]).iter().all(|check| check.verdict == Verdict::NotMeasured));
    }

    #[test]
    fn numbers_are_short() {
        let short = [0.0, 0.2, 1.3, 2.0, 12.34, 1234.5].map(|value| Short(value).to_string());
        assert_eq!(short, ["0", "0.200", "1.300", "2", "12.3", "1234"]);
    }
}
