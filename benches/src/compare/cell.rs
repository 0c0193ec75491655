//! The cells of the comparison: the slices of one subject at one task, and their figures.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Slice,
    pair::job::{Task, Work},
    peers::{Kind, Subject},
    report::version_of,
    stats::{Distribution, Spread},
};

/// A bounce below this is between near processors.
const NEAR_BELOW_NS: u64 = 200;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// When it began since the run did. The run sets it.
    #[serde(skip)]
    pub(super) at: Duration,
    pub(super) floors_ns: [u64; 2],
    pub(super) slice: Slice,
    /// The time to which the other figures refer.
    pub(super) elapsed_ns: u64,
    pub(super) switches: Option<[u64; 2]>,
    /// The CPU time of all other processes, in ticks of 10 ms: it may be a tick too little.
    pub(super) others_cpu_ns: i64,
}

/// The distance between the two processors, which the host chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    Near,
    Far,
    /// It changed during the slice.
    Moved,
}

impl Outcome {
    pub(super) fn placement(&self) -> Placement {
        match self.floors_ns.map(|floor| floor < NEAR_BELOW_NS) {
            [true, true] => Placement::Near,
            [false, false] => Placement::Far,
            _ => Placement::Moved,
        }
    }

    fn latency_ns(&self, quantile: f64) -> Option<f64> {
        Some(&self.slice.all).filter(|all| all.count() > 0).map(|all| all.at(quantile) as f64)
    }

    fn rate(&self, figure: u64) -> Option<f64> {
        (self.elapsed_ns > 0).then(|| figure as f64 / self.elapsed_ns as f64)
    }
}

pub(super) type Metric = fn(&Outcome) -> Option<f64>;

pub(super) const FLOOR: Metric = |outcome| Some(outcome.floors_ns.iter().sum::<u64>() as f64 / 2.0);
pub(super) const P50: Metric = |outcome| outcome.latency_ns(0.5);
pub(super) const P90: Metric = |outcome| outcome.latency_ns(0.9);
pub(super) const P99: Metric = |outcome| outcome.latency_ns(0.99);
pub(super) const P999: Metric = |outcome| outcome.latency_ns(0.999);
/// The p50 in floors, even if the floor changed.
const ANY_RATIO: Metric = |outcome| Some(P50(outcome)? / FLOOR(outcome)?.max(1.0));
/// The p50 in floors, if the floor did not change.
pub(super) const RATIO: Metric =
    |outcome| ANY_RATIO(outcome).filter(|_| outcome.placement() != Placement::Moved);
pub(super) const RATE: Metric = |outcome| Some(outcome.rate(outcome.slice.count)? * 1e9);
/// The CPU time of each process, in parts of one core.
pub(super) const MAIN_CPU: Metric = |outcome| outcome.rate(outcome.slice.cpu_ns[0]);
pub(super) const RENDERER_CPU: Metric = |outcome| outcome.rate(outcome.slice.cpu_ns[1]);
pub(super) const BOTH_CPU: Metric = |outcome| Some(MAIN_CPU(outcome)? + RENDERER_CPU(outcome)?);
/// The voluntary context switches of each process a second.
pub(super) const MAIN_SWITCHES: Metric = |outcome| Some(outcome.rate(outcome.switches?[0])? * 1e9);
pub(super) const RENDERER_SWITCHES: Metric =
    |outcome| Some(outcome.rate(outcome.switches?[1])? * 1e9);
pub(super) const SEND_P50: Metric = |outcome| Some(outcome.slice.cost.as_ref()?.at(0.5) as f64);
pub(super) const SENT: Metric = |outcome| Some(outcome.slice.cost.as_ref()?.count() as f64);
pub(super) const LOST: Metric =
    |outcome| Some((SENT(outcome)? - outcome.slice.count as f64).max(0.0));
/// The part of the pushes that needed no wake-up, if the subject counts them.
pub(super) const UNWOKEN: Metric =
    |outcome| Some(1.0 - (outcome.slice.wakes? as f64 / SENT(outcome)?.max(1.0)).min(1.0));

/// One subject at one task.
pub(super) struct Cell {
    pub(super) subject: &'static Subject,
    pub(super) task: Task,
    pub(super) unable: Option<&'static str>,
    /// The result of each round; `None` once the cell is given up.
    pub(super) rounds: Vec<Option<Result<Outcome, String>>>,
}

impl Cell {
    pub(super) fn outcomes(&self) -> impl Iterator<Item = (usize, &Outcome)> {
        let rounds = self.rounds.iter().enumerate();
        rounds.filter_map(|(number, round)| Some((number, round.as_ref()?.as_ref().ok()?)))
    }

    fn values(&self, metric: Metric) -> impl Iterator<Item = f64> {
        self.outcomes().filter_map(move |(_, outcome)| metric(outcome))
    }

    pub(super) fn spread(&self, metric: Metric) -> Option<Spread> {
        Spread::of(self.values(metric))
    }

    pub(super) fn sum(&self, metric: Metric) -> f64 {
        self.values(metric).sum()
    }

    pub(super) fn ratio(&self) -> Option<Spread> {
        self.spread(RATIO).or_else(|| self.spread(ANY_RATIO))
    }

    pub(super) fn gib_per_second(&self) -> Option<Spread> {
        let gib = self.task.payload as f64 / f64::from(1 << 30);
        Some(self.spread(RATE)?.map(|rate| rate * gib))
    }

    pub(super) fn samples(&self) -> Option<Distribution> {
        let mut all = Distribution::default();
        self.outcomes().for_each(|(_, outcome)| all.merge(&outcome.slice.all));
        Some(all).filter(|all| all.count() > 0)
    }

    pub(super) fn placed(&self, place: Placement) -> usize {
        self.outcomes().filter(|(_, outcome)| outcome.placement() == place).count()
    }

    /// Returns the CPU time of all other processes in cores, over all rounds, since a tick is too long for a
    /// single slice. It is unknown for idle pairs, which are read from outside.
    pub(super) fn others_cpu(&self) -> Option<f64> {
        let looked = self.outcomes().filter(|(_, outcome)| outcome.switches.is_none());
        let (used, elapsed) = looked.fold((0, 0), |(used, elapsed), (_, outcome)| {
            (used + outcome.others_cpu_ns, elapsed + outcome.elapsed_ns)
        });
        (elapsed > 0).then(|| (used as f64 / elapsed as f64).max(0.0))
    }

    pub(super) fn rounds_failed(&self) -> usize {
        self.rounds.len() - self.outcomes().count()
    }

    /// Returns the reason why there are no figures, or fewer than rounds.
    pub(super) fn reason(&self) -> Option<&str> {
        let errors = || self.rounds.iter().flatten().find_map(|round| round.as_ref().err());
        self.unable.or_else(|| errors().map(String::as_str))
    }

    /// Returns what stands in place of figures, if there are none.
    pub(super) fn instead(&self) -> Option<String> {
        let reason = self.reason().unwrap_or_default();
        match self.status() {
            "measured" => None,
            "failed" => Some(format!("FAILED: {reason}")),
            _ => Some(format!("n/a: {reason}")),
        }
    }

    fn status(&self) -> &'static str {
        match (self.unable, self.outcomes().next()) {
            (Some(_), _) => "not-applicable",
            (None, Some(_)) => "measured",
            (None, None) => "failed",
        }
    }

    /// Returns the figures as one line of JSON. Those that the cell does not have are left out.
    pub(super) fn json(&self) -> Value {
        let both = |main, renderer| {
            let main = self.spread(main)?;
            Some(json!({ "main": main, "renderer": self.spread(renderer) }))
        };
        let latency = self.samples().map(|all| {
            let [p50, p90, p99, p999] = [P50, P90, P99, P999].map(|metric| self.spread(metric));
            json!({
                "samples": all.count(), "p50_ns": p50, "p90_ns": p90, "p99_ns": p99, "p999_ns": p999,
                "max_ns": all.max(), "ratio": self.ratio(),
            })
        });
        let push = self.spread(SEND_P50).map(|send_p50| {
            let (sent, lost) = (self.sum(SENT) as u64, self.sum(LOST) as u64);
            let unwoken = self.spread(UNWOKEN);
            present(
                json!({ "sent": sent, "lost": lost, "send_p50_ns": send_p50, "unwoken": unwoken }),
            )
        });
        let rate = self.spread(RATE).filter(|_| self.task.work == Work::Stream);
        let stream = rate.map(
            |rate| json!({ "messages_per_second": rate, "gib_per_second": self.gib_per_second() }),
        );
        let backend = match self.subject.kind {
            Kind::Ours(ring) => Some(ring.backend),
            Kind::Floor(_) | Kind::Other(_) => None,
        };
        present(json!({
            "kind": "cell",
            "subject": self.subject.name,
            "about": self.subject.about,
            "backend": backend,
            "version": self.subject.package.and_then(version_of),
            "work": self.task.work,
            "payload": self.task.payload,
            "rate_hz": self.task.rate_hz,
            "setting": self.task.setting,
            "status": self.status(),
            "reason": self.reason(),
            "rounds": self.outcomes().count(),
            "rounds_failed": self.rounds_failed(),
            "near": self.placed(Placement::Near),
            "far": self.placed(Placement::Far),
            "moved": self.placed(Placement::Moved),
            "floor_ns": self.spread(FLOOR),
            "latency": latency,
            "stream": stream,
            "push": push,
            "cpu": both(MAIN_CPU, RENDERER_CPU),
            "switches_per_second": both(MAIN_SWITCHES, RENDERER_SWITCHES),
            "others_cpu": self.others_cpu(),
        }))
    }
}

/// Leaves out the values of an object that are null.
pub(super) fn present(mut object: Value) -> Value {
    if let Value::Object(values) = &mut object {
        values.retain(|_, value| !value.is_null());
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::tests::{cell_of, outcome};

    #[test]
    fn the_ratio_is_the_median_of_the_slices_that_stayed_in_their_place() {
        let slice = |floors_ns, latency| Outcome { floors_ns, ..outcome(latency) };
        let slices =
            vec![slice([100, 100], 200), slice([500, 500], 1500), slice([100, 500], 90_000)];
        let json = cell_of("pipe", Work::RoundTrip, slices).json();
        assert_eq!(json["latency"]["ratio"], json!({ "median": 2.5, "min": 2.0, "max": 3.0 }));
        assert_eq!([&json["near"], &json["far"], &json["moved"]].map(Value::as_u64), [Some(1); 3]);
        assert_eq!(json["latency"]["samples"], 3000);
        assert_eq!(json["latency"]["p50_ns"]["median"], 1500.0);
    }

    #[test]
    fn a_stream_is_messages_and_bytes_a_second() {
        let cell = cell_of("pipe", Work::Stream, vec![outcome(1)]);
        assert_eq!(cell.spread(RATE).unwrap().median, 1e6);
        let bytes = cell.gib_per_second().unwrap().median * f64::from(1 << 30);
        assert!((bytes - 48e6).abs() < 1.0);
    }

    #[test]
    fn a_cell_without_a_single_success_says_why() {
        let mut cell = cell_of("pipe", Work::Push, vec![]);
        cell.rounds = vec![Some(Err("no pipe".into())), Some(Err("again".into())), None];
        let json = cell.json();
        assert_eq!((&json["status"], &json["rounds_failed"]), (&json!("failed"), &json!(3)));
        assert_eq!(json["reason"], "no pipe");
        assert!(json["latency"].is_null() && json["push"].is_null());
    }

    #[test]
    fn a_push_that_did_not_arrive_is_lost() {
        let mut pushes = outcome(1);
        assert_eq!(LOST(&pushes), None);
        pushes.slice.cost = Some(Distribution::of(&[50; 1002]));
        assert_eq!(LOST(&pushes), Some(2.0));
    }
}
