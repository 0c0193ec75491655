//! The figures of a cell, computed from its slices.

use serde::Serialize;

use super::{run::Cell, slice::Outcome};
use crate::{
    pair::job::{Backend, Task, Work},
    peers::Kind,
    report::version_of,
    stats::{Distribution, Spread},
};

/// A bounce below this is between near processors.
const NEAR_BELOW_NS: u64 = 200;

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

    pub(super) fn floor_ns(&self) -> f64 {
        let [before, after] = self.floors_ns.map(|floor| floor as f64);
        (before + after) / 2.0
    }

    /// Returns the samples. A stream and an idle pair have none.
    fn latency(&self) -> Option<&Distribution> {
        Some(&self.slice.all).filter(|all| all.count() > 0)
    }

    pub(super) fn latency_ns(&self, quantile: f64) -> Option<f64> {
        Some(self.latency()?.at(quantile) as f64)
    }

    /// Returns the p50 in floors, if the floor did not change.
    pub(super) fn ratio(&self) -> Option<f64> {
        if self.placement() == Placement::Moved { None } else { self.ratio_anyway() }
    }

    /// Returns the p50 in floors, even if the floor changed.
    fn ratio_anyway(&self) -> Option<f64> {
        Some(self.latency_ns(0.5)? / self.floor_ns().max(1.0))
    }

    pub(super) fn per_second(&self) -> Option<f64> {
        (self.elapsed_ns > 0).then(|| self.slice.count as f64 * 1e9 / self.elapsed_ns as f64)
    }

    pub(super) fn cpu(&self) -> Option<[f64; 2]> {
        (self.elapsed_ns > 0).then(|| {
            let elapsed = self.elapsed_ns as f64;
            self.slice.cpu_ns.map(|cpu| cpu as f64 / elapsed)
        })
    }

    pub(super) fn send_p50_ns(&self) -> Option<f64> {
        Some(self.slice.cost.as_ref()?.at(0.5) as f64)
    }

    pub(super) fn lost(&self) -> Option<u64> {
        Some(self.slice.cost.as_ref()?.count().saturating_sub(self.slice.count))
    }

    /// Returns the part of the pushes that needed no wake-up.
    pub(super) fn unwoken(&self) -> Option<f64> {
        let sent = self.slice.cost.as_ref()?.count().max(1) as f64;
        Some(1.0 - (self.slice.wakes? as f64 / sent).min(1.0))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Status {
    Measured,
    /// The subject cannot do this.
    NotApplicable,
    Failed,
}

/// The figures of a cell: spreads are over the rounds.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) kind: &'static str,
    pub(super) subject: &'static str,
    pub(super) about: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) backend: Option<Backend>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    #[serde(flatten)]
    pub(super) task: Task,
    pub(super) status: Status,
    /// The reason why there are no figures, or fewer than rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    pub(super) rounds: usize,
    pub(super) rounds_failed: usize,
    pub(super) near: usize,
    pub(super) far: usize,
    pub(super) moved: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) floor_ns: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) latency: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stream: Option<Stream>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) push: Option<Pushes>,
    /// In parts of one core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu: Option<Both>,
    /// Voluntary context switches a second, of idle pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) switches_per_second: Option<Both>,
    /// The CPU time of all other processes in cores, over all rounds. Unknown for idle pairs, which are read
    /// from outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) others_cpu: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Latency {
    pub(super) samples: u64,
    pub(super) p50_ns: Spread,
    pub(super) p90_ns: Spread,
    pub(super) p99_ns: Spread,
    pub(super) p999_ns: Spread,
    pub(super) max_ns: u64,
    /// The p50 in floors, each slice with the floor beside it.
    pub(super) ratio: Spread,
    #[serde(skip)]
    pub(super) all: Distribution,
}

#[derive(Debug, Serialize)]
pub(super) struct Stream {
    pub(super) messages_per_second: Spread,
    pub(super) gib_per_second: Spread,
}

#[derive(Debug, Serialize)]
pub(super) struct Pushes {
    pub(super) sent: u64,
    pub(super) lost: u64,
    pub(super) send_p50_ns: Spread,
    /// The part of the pushes that needed no wake-up, if the subject counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unwoken: Option<Spread>,
}

#[derive(Debug, Serialize)]
pub(super) struct Both {
    pub(super) main: Spread,
    pub(super) renderer: Spread,
}

impl Figures {
    pub(super) fn of(cell: &Cell) -> Self {
        let outcomes: Vec<&Outcome> = cell.visits().map(|(_, visit)| &visit.outcome).collect();
        let over = |figure: &dyn Fn(&Outcome) -> Option<f64>| {
            Spread::of(outcomes.iter().filter_map(|outcome| figure(outcome)))
        };
        let placed = |place| outcomes.iter().filter(|outcome| outcome.placement() == place).count();
        let status = match (cell.unable, outcomes.is_empty()) {
            (Some(_), _) => Status::NotApplicable,
            (None, false) => Status::Measured,
            (None, true) => Status::Failed,
        };
        let both = |figure: &dyn Fn(&Outcome) -> Option<[f64; 2]>| {
            let main = over(&|outcome| Some(figure(outcome)?[0]))?;
            Some(Both { main, renderer: over(&|outcome| Some(figure(outcome)?[1]))? })
        };
        let switches_per_second = |outcome: &Outcome| {
            let elapsed_ns = outcome.elapsed_ns.max(1) as f64;
            Some(outcome.switches?.map(|switches| switches as f64 * 1e9 / elapsed_ns))
        };
        let stream = |messages_per_second: Spread| {
            let gib = |rate: f64| rate * cell.task.payload as f64 / f64::from(1 << 30);
            let gib_per_second = messages_per_second.map(gib);
            Stream { messages_per_second, gib_per_second }
        };
        let is_stream = cell.task.work == Work::Stream;
        Self {
            kind: "cell",
            subject: cell.subject.name,
            about: cell.subject.about,
            backend: match cell.subject.kind {
                Kind::Ours(ring) => Some(ring.backend),
                Kind::Floor(_) | Kind::Other(_) => None,
            },
            version: cell.subject.package.and_then(version_of),
            task: cell.task,
            status,
            reason: cell.unable.or(cell.failure()).map(str::to_owned),
            rounds: outcomes.len(),
            rounds_failed: cell.rounds.len() - outcomes.len(),
            near: placed(Placement::Near),
            far: placed(Placement::Far),
            moved: placed(Placement::Moved),
            floor_ns: over(&|outcome| Some(outcome.floor_ns())),
            latency: Latency::of(&outcomes),
            stream: over(&Outcome::per_second).filter(|_| is_stream).map(stream),
            push: Pushes::of(&outcomes),
            cpu: both(&Outcome::cpu),
            switches_per_second: both(&switches_per_second),
            others_cpu: others_cpu(&outcomes),
        }
    }
}

/// Sums the other processes' CPU time: a tick is too long for a single slice.
fn others_cpu(outcomes: &[&Outcome]) -> Option<f64> {
    let looked = outcomes.iter().filter(|outcome| outcome.switches.is_none());
    let (used, elapsed) = looked.fold((0, 0), |(used, elapsed), outcome| {
        (used + outcome.others_cpu_ns, elapsed + outcome.elapsed_ns)
    });
    (elapsed > 0).then(|| (used as f64 / elapsed as f64).max(0.0))
}

impl Latency {
    fn of(outcomes: &[&Outcome]) -> Option<Self> {
        let over = |quantile| {
            Spread::of(outcomes.iter().filter_map(|outcome| outcome.latency_ns(quantile)))
        };
        let mut all = Distribution::default();
        outcomes.iter().filter_map(|outcome| outcome.latency()).for_each(|one| all.merge(one));
        let ratio = Spread::of(outcomes.iter().filter_map(|outcome| outcome.ratio()))
            .or_else(|| Spread::of(outcomes.iter().filter_map(|each| each.ratio_anyway())))?;
        Some(Self {
            samples: all.count(),
            p50_ns: over(0.5)?,
            p90_ns: over(0.9)?,
            p99_ns: over(0.99)?,
            p999_ns: over(0.999)?,
            max_ns: all.max(),
            ratio,
            all,
        })
    }
}

impl Pushes {
    fn of(outcomes: &[&Outcome]) -> Option<Self> {
        let costs = outcomes.iter().filter_map(|outcome| outcome.slice.cost.as_ref());
        Some(Self {
            sent: costs.map(Distribution::count).sum(),
            lost: outcomes.iter().filter_map(|outcome| outcome.lost()).sum(),
            send_p50_ns: Spread::of(outcomes.iter().filter_map(|each| each.send_p50_ns()))?,
            unwoken: Spread::of(outcomes.iter().filter_map(|each| each.unwoken())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Slice, compare::tests::cell_of};

    fn outcome(floors_ns: [u64; 2], latency: &[u64]) -> Outcome {
        let (count, all) = (latency.len() as u64, Distribution::of(latency));
        let slice = Slice { count, all, ..Slice::default() };
        Outcome { floors_ns, slice, elapsed_ns: 1_000_000, ..Outcome::default() }
    }

    #[test]
    fn the_ratio_is_the_median_of_the_slices_that_stayed_in_their_place() {
        let figures = Figures::of(&cell_of(
            "pipe",
            Work::RoundTrip,
            vec![
                outcome([100, 100], &[200; 9]),
                outcome([500, 500], &[1500; 9]),
                outcome([100, 500], &[90_000; 9]),
            ],
        ));
        let latency = figures.latency.unwrap();
        assert_eq!((latency.ratio.median, latency.ratio.min, latency.ratio.max), (2.5, 2.0, 3.0));
        assert_eq!((figures.near, figures.far, figures.moved), (1, 1, 1));
        assert_eq!((latency.samples, latency.p50_ns.median), (27, 1500.0));
    }

    #[test]
    fn a_stream_is_messages_and_bytes_a_second() {
        let figures =
            Figures::of(&cell_of("pipe", Work::Stream, vec![outcome([100, 100], &[1; 48])]));
        let stream = figures.stream.unwrap();
        assert_eq!(stream.messages_per_second.median, 48_000.0);
        let bytes = stream.gib_per_second.median * f64::from(1 << 30);
        assert!((bytes - 48_000.0 * 48.0).abs() < 1.0);
    }

    #[test]
    fn a_cell_without_a_single_success_says_why() {
        let mut cell = cell_of("pipe", Work::Push, vec![]);
        cell.rounds = vec![Some(Err("no pipe".into())), Some(Err("again".into())), None];
        let figures = Figures::of(&cell);
        assert_eq!((figures.status, figures.rounds_failed), (Status::Failed, 3));
        assert_eq!(figures.reason.as_deref(), Some("no pipe"));
        assert!(figures.latency.is_none() && figures.push.is_none());
    }

    #[test]
    fn a_push_that_did_not_arrive_is_lost() {
        let mut pushes = outcome([100, 100], &[1; 8]);
        assert_eq!(pushes.lost(), None);
        pushes.slice.cost = Some(Distribution::of(&[50; 10]));
        assert_eq!(pushes.lost(), Some(2));
    }
}
