//! From slices to the figures of a cell.

use serde::Serialize;

use crate::{
    compare::{
        run::Cell,
        slice::Outcome,
        work::{Task, Work},
    },
    job::Backend,
    report::version_of,
    stats::{Distribution, Spread},
};

/// A bounce below this is one between near processors.
const NEAR_BELOW_NS: u64 = 200;

/// How far apart the host had the two processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    Near,
    Far,
    /// One before the slice, the other after it.
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

    /// The floor beside this slice.
    pub(super) fn floor_ns(&self) -> f64 {
        let [before, after] = self.floors_ns.map(|floor| floor as f64);
        (before + after) / 2.0
    }

    pub(super) fn latency_ns(&self, quantile: f64) -> Option<f64> {
        Some(self.latency.as_ref()?.at(quantile) as f64)
    }

    /// Its p50 in floors. A slice whose floor changed has no floor.
    pub(super) fn ratio(&self) -> Option<f64> {
        if self.placement() == Placement::Moved { None } else { self.ratio_anyway() }
    }

    /// Its p50 in floors, of which the mean is taken if they differ.
    fn ratio_anyway(&self) -> Option<f64> {
        Some(self.latency_ns(0.5)? / self.floor_ns().max(1.0))
    }

    pub(super) fn per_second(&self) -> Option<f64> {
        (self.elapsed_ns > 0).then(|| self.count as f64 * 1e9 / self.elapsed_ns as f64)
    }

    /// The part of a core that main used, and the renderer.
    pub(super) fn cpu(&self) -> Option<[f64; 2]> {
        (self.elapsed_ns > 0).then(|| {
            let elapsed = self.elapsed_ns as f64;
            [self.main_cpu_ns, self.renderer_cpu_ns].map(|cpu| cpu as f64 / elapsed)
        })
    }

    pub(super) fn send_p50_ns(&self) -> Option<f64> {
        Some(self.cost.as_ref()?.at(0.5) as f64)
    }

    /// The part of the pushes that woke nobody.
    pub(super) fn unwoken(&self) -> Option<f64> {
        let sent = self.cost.as_ref()?.count().max(1) as f64;
        Some(1.0 - (self.wakes? as f64 / sent).min(1.0))
    }
}

/// Whether a cell has figures.
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
    /// Of Ringbridge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) backend: Option<Backend>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    #[serde(flatten)]
    pub(super) task: Task,
    pub(super) status: Status,
    /// Why there are no figures, or fewer than there were rounds.
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
    /// Of one core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu: Option<Cpu>,
    /// Voluntary context switches a second; of idle pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) switches_per_second: Option<Pair>,
    /// Everybody else's CPU time meanwhile, in cores: over all rounds. Not known of idle pairs, which
    /// are looked at from outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) others_cpu: Option<f64>,
}

/// How long messages took.
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
    /// All rounds together.
    #[serde(skip)]
    pub(super) all: Distribution,
}

/// How much went through.
#[derive(Debug, Serialize)]
pub(super) struct Stream {
    pub(super) messages_per_second: Spread,
    pub(super) gib_per_second: Spread,
}

/// What pushing cost.
#[derive(Debug, Serialize)]
pub(super) struct Pushes {
    pub(super) sent: u64,
    pub(super) lost: u64,
    pub(super) send_p50_ns: Spread,
    /// The part of the pushes that needed no wake-up, if the subject counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unwoken: Option<Spread>,
}

/// The part of a core that each process used.
#[derive(Debug, Serialize)]
pub(super) struct Cpu {
    pub(super) main: Spread,
    pub(super) renderer: Spread,
}

/// A figure of each process.
#[derive(Debug, Serialize)]
pub(super) struct Pair {
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
        let per_second = |of: usize| {
            move |outcome: &Outcome| {
                let switches = outcome.switches?[of];
                Some(switches as f64 * 1e9 / outcome.elapsed_ns.max(1) as f64)
            }
        };
        Self {
            kind: "cell",
            subject: cell.subject.name(),
            about: cell.subject.about(),
            backend: cell.subject.backend(),
            version: cell.subject.package().and_then(version_of),
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
            stream: (cell.task.work == Work::Stream)
                .then(|| Stream::of(cell.task.payload, over(&Outcome::per_second)?))
                .flatten(),
            push: Pushes::of(&outcomes),
            cpu: over(&|outcome| outcome.cpu().map(|cpu| cpu[0]))
                .zip(over(&|outcome| outcome.cpu().map(|cpu| cpu[1])))
                .map(|(main, renderer)| Cpu { main, renderer }),
            switches_per_second: over(&per_second(0))
                .zip(over(&per_second(1)))
                .map(|(main, renderer)| Pair { main, renderer }),
            others_cpu: others_cpu(&outcomes),
        }
    }
}

/// Ticks are long and slices short, so only their sum means something.
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
        let mut all = Distribution::new();
        outcomes.iter().filter_map(|outcome| outcome.latency.as_ref()).for_each(|d| all.merge(d));
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

impl Stream {
    fn of(payload: usize, messages_per_second: Spread) -> Option<Self> {
        let gib = |per_second: f64| per_second * payload as f64 / f64::from(1 << 30);
        let Spread { median, min, max } = messages_per_second;
        let gib_per_second = Spread { median: gib(median), min: gib(min), max: gib(max) };
        Some(Self { messages_per_second, gib_per_second })
    }
}

impl Pushes {
    fn of(outcomes: &[&Outcome]) -> Option<Self> {
        let costs = outcomes.iter().filter_map(|outcome| outcome.cost.as_ref());
        Some(Self {
            sent: costs.map(Distribution::count).sum(),
            lost: outcomes.iter().map(|outcome| outcome.lost).sum(),
            send_p50_ns: Spread::of(outcomes.iter().filter_map(|each| each.send_p50_ns()))?,
            unwoken: Spread::of(outcomes.iter().filter_map(|each| each.unwoken())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::samples::cell_of;

    fn outcome(floors_ns: [u64; 2], latency: &[u64]) -> Outcome {
        Outcome {
            floors_ns,
            latency: Some(Distribution::of(latency)),
            count: latency.len() as u64,
            elapsed_ns: 1_000_000,
            ..Outcome::default()
        }
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
}
