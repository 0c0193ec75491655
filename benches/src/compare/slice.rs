//! One slice: two processes connect, warm up, and measure a task between two floors.
//!
//! ```text
//!   main      connect │ warm │ floor │ measured │ floor │ hear the renderer's part, print the outcome
//!   renderer  connect │ warm │ floor │ measured │ floor │ say its part
//!                     ▲ they meet at every line
//! ```
//!
//! The processes exist for this slice only. So nothing else of the comparison is running or even there,
//! a subject that crashes ends one slice, and each slice has other memory.

use std::{
    io::{Write, stdout},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    Error,
    clock::now_ns,
    compare::{
        side::{MainSide, Pacer, RendererSide, StreamPart, pushes, touched},
        stage::Stage,
        usage::machine_busy_ns,
        work::{Job, Setting, Work},
    },
    pair::Limit,
    peers,
    pins::keep_to,
    stats::{Distribution, longest},
};

/// How many of the longest samples are kept with their time.
const OUTLIERS: usize = 6;
/// The most samples of one slice.
const SAMPLES_MAX: u64 = 4 << 20;
/// No round trip takes less.
const ROUND_TRIP_MIN_NS: u64 = 100;
/// The most samples of one floor.
const FLOOR_SAMPLES: usize = 1 << 17;
/// How long an idle pair is left alone before it is looked at, and afterwards.
pub(super) const IDLE_MARGIN: Duration = Duration::from_millis(200);

/// A line that main prints for the run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    /// From now on both sides are idle.
    Idle { main: u32, renderer: u32 },
    /// The slice is done.
    Done(Box<Outcome>),
    /// It failed, and why.
    Failed(String),
}

/// What came of one slice.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// The p50 of the floor before and after.
    pub(super) floors_ns: [u64; 2],
    /// Of round trips, or of pushes on their way.
    pub(super) latency: Option<Distribution>,
    /// What each push cost its sender.
    pub(super) cost: Option<Distribution>,
    /// The longest samples: when, since the measuring began, and how long.
    pub(super) outliers: Vec<(u64, u64)>,
    /// How many messages were received, or round trips were made.
    pub(super) count: u64,
    /// How long the measuring took.
    pub(super) elapsed_ns: u64,
    /// Sent and not received.
    pub(super) lost: u64,
    pub(super) main_cpu_ns: u64,
    pub(super) renderer_cpu_ns: u64,
    /// How often each side went to sleep; of idle pairs.
    pub(super) switches: Option<[u64; 2]>,
    /// Wake-ups of the renderer by main, if the subject counts them.
    pub(super) wakes: Option<u64>,
    /// CPU time of everybody else meanwhile, in ticks of 10 ms: it may be a tick too little.
    pub(super) others_cpu_ns: i64,
}

/// What the renderer tells main at the end.
#[derive(Default, Serialize, Deserialize)]
struct RendererPart {
    floors_ns: [u64; 2],
    latency: Option<Distribution>,
    outliers: Vec<(u64, u64)>,
    count: u64,
    stream: StreamPart,
    cpu_ns: u64,
}

/// The whole life of a slice's main process.
pub(super) fn main_process(job: Job) -> Result<(), Error> {
    let said = match main_half(job) {
        Ok(outcome) => Said::Done(Box::new(outcome)),
        Err(error) => Said::Failed(error.to_string()),
    };
    say(&said)
}

fn say(said: &Said) -> Result<(), Error> {
    let mut out = stdout().lock();
    serde_json::to_writer(&mut out, said)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

fn main_half(job: Job) -> Result<Outcome, Error> {
    keep_to(&[job.pins.main])?;
    let subject = peers::find(&job.subject)?;
    let mut stage = Stage::of_main(job)?;
    let mut side = subject.main_side(&mut stage)?;

    work_of_main(&stage, side.as_mut(), Phase::Warm)?;
    follow_floor(&stage, 0)?;
    let (busy, cpu, wakes) = (machine_busy_ns()?, stage.cpu_ns(), side.wakes());
    let part = work_of_main(&stage, side.as_mut(), Phase::Measured)?;
    let main_cpu_ns = stage.cpu_ns() - cpu;
    let busy = machine_busy_ns()? - busy;
    let wakes = side.wakes().zip(wakes).map(|(after, before)| after - before);
    follow_floor(&stage, 1)?;

    let renderer: RendererPart = stage.control.hear()?;
    drop(side);
    stage.finish()?;
    let mut outcome = part.with(renderer)?;
    outcome.main_cpu_ns = main_cpu_ns;
    outcome.wakes = wakes;
    outcome.others_cpu_ns = busy as i64 - (main_cpu_ns + outcome.renderer_cpu_ns) as i64;
    Ok(outcome)
}

/// What main knows of the work.
#[derive(Default)]
struct MainPart {
    stream: StreamPart,
    costs: Option<Vec<u64>>,
    elapsed_ns: u64,
}

/// Whether the work counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Warm,
    Measured,
}

impl Phase {
    fn time_ns(self, job: &Job) -> u64 {
        match self {
            Self::Warm => job.warm_ns,
            Self::Measured => job.time_ns,
        }
    }
}

fn work_of_main(stage: &Stage, side: &mut dyn MainSide, phase: Phase) -> Result<MainPart, Error> {
    let time_ns = phase.time_ns(&stage.job);
    stage.control.meet()?;
    let began = now_ns();
    let mut part = MainPart::default();
    match stage.job.task.work {
        Work::RoundTrip => side.answer()?,
        Work::Stream => part.stream = side.stream(time_ns)?,
        Work::Push => {
            let mut pacer = Pacer::new(stage.job.task, time_ns);
            side.push(&mut pacer)?;
            part.costs = Some(pacer.costs);
        }
        Work::Idle => {
            if phase == Phase::Measured {
                say(&Said::Idle { main: std::process::id(), renderer: stage.control.hear()? })?;
            }
            side.idle(time_ns)?;
        }
    }
    part.elapsed_ns = now_ns() - began;
    Ok(part)
}

impl MainPart {
    fn with(self, renderer: RendererPart) -> Result<Outcome, Error> {
        let mut outcome = Outcome {
            floors_ns: renderer.floors_ns,
            latency: renderer.latency,
            outliers: renderer.outliers,
            count: renderer.count,
            elapsed_ns: self.elapsed_ns,
            renderer_cpu_ns: renderer.cpu_ns,
            ..Outcome::default()
        };
        if let Some(costs) = self.costs {
            outcome.lost = (costs.len() as u64).saturating_sub(renderer.count);
            outcome.cost = Some(Distribution::of(&costs));
        }
        let [here, there] = [self.stream, renderer.stream];
        if let (Some(began), Some(ended)) =
            (here.began_ns.or(there.began_ns), here.ended_ns.or(there.ended_ns))
        {
            if here.count != there.count && here.count.min(there.count) != 0 {
                let [one, other] = [here.count, there.count];
                return Err(format!("a stream of {one} on one side, {other} on the other").into());
            }
            outcome.count = here.count.max(there.count);
            outcome.elapsed_ns = ended.saturating_sub(began);
        }
        Ok(outcome)
    }
}

/// The whole life of a slice's renderer.
pub(super) fn renderer_half(stage: &Stage) -> Result<(), Error> {
    keep_to(&[stage.job.pins.renderer])?;
    let job = &stage.job;
    let mut side = peers::find(&job.subject)?.renderer_side(stage)?;
    let room = match job.task.work {
        Work::RoundTrip => (job.time_ns / ROUND_TRIP_MIN_NS).min(SAMPLES_MAX),
        Work::Push => pushes(job.task.rate_hz, job.time_ns),
        Work::Stream | Work::Idle => 0,
    };
    let mut samples = touched(room as usize);
    let mut floor = touched(FLOOR_SAMPLES);

    // The floor is always one of two processors.
    let working = match job.task.setting {
        Setting::OneCore => job.pins.main,
        Setting::Usual | Setting::SenderAwake => job.pins.renderer,
    };
    keep_to(&[working])?;
    work_of_renderer(stage, side.as_mut(), Phase::Warm, &mut samples)?;
    samples.clear();
    keep_to(&[job.pins.renderer])?;
    let before = lead_floor(stage, 0, &mut floor)?;
    keep_to(&[working])?;
    let cpu = stage.cpu_ns();
    let stream = work_of_renderer(stage, side.as_mut(), Phase::Measured, &mut samples)?;
    let cpu_ns = stage.cpu_ns() - cpu;
    keep_to(&[job.pins.renderer])?;
    let after = lead_floor(stage, 1, &mut floor)?;

    let timed = matches!(job.task.work, Work::RoundTrip | Work::Push);
    stage.control.say(&RendererPart {
        floors_ns: [before, after],
        latency: timed.then(|| Distribution::of(&samples)),
        outliers: outliers(&samples, job.task.rate_hz),
        count: samples.len() as u64,
        stream,
        cpu_ns,
    })
}

fn work_of_renderer(
    stage: &Stage,
    side: &mut dyn RendererSide,
    phase: Phase,
    samples: &mut Vec<u64>,
) -> Result<StreamPart, Error> {
    let time_ns = phase.time_ns(&stage.job);
    stage.control.meet()?;
    match stage.job.task.work {
        Work::RoundTrip => side.call(time_ns, samples)?,
        Work::Stream => return side.stream(time_ns),
        Work::Push => side.receive_pushes(samples)?,
        Work::Idle => {
            if phase == Phase::Measured {
                stage.control.say(&std::process::id())?;
            }
            side.idle()?;
        }
    }
    Ok(StreamPart::default())
}

fn follow_floor(stage: &Stage, number: u32) -> Result<(), Error> {
    // First the renderer has to be out of whatever used the board.
    stage.control.meet()?;
    stage.board.reset();
    stage.control.meet()?;
    Ok(stage.board.follow(number)?)
}

/// The p50 of a bare bounce.
fn lead_floor(stage: &Stage, number: u32, samples: &mut Vec<u64>) -> Result<u64, Error> {
    samples.clear();
    stage.control.meet()?;
    stage.control.meet()?;
    let limit = Limit { count: FLOOR_SAMPLES as u64, time_ns: stage.job.floor_ns };
    stage.board.lead(number, limit, samples)?;
    let middle = samples.len() / 2;
    if samples.is_empty() {
        return Err("the floor was not measured: it had no time".into());
    }
    Ok(*samples.select_nth_unstable(middle).1)
}

/// The longest samples with their time. Round trips follow one another, pushes come at their rate.
fn outliers(samples: &[u64], rate_hz: u64) -> Vec<(u64, u64)> {
    let mut at = 0;
    let timed = samples.iter().map(|&sample| {
        let began = at;
        at += 1_000_000_000_u64.checked_div(rate_hz).unwrap_or(sample);
        (sample, began)
    });
    longest(timed, OUTLIERS).into_iter().map(|(sample, began)| (began, sample)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_are_the_longest_with_the_time_at_which_they_began() {
        assert_eq!(outliers(&[10, 500, 20, 90], 0)[..2], [(10, 500), (530, 90)]);
        assert_eq!(outliers(&[10, 500], 1000)[0], (1_000_000, 500));
    }

    #[test]
    fn a_stream_that_lost_something_is_an_error_and_one_side_may_look_on() {
        let part = |count| MainPart {
            stream: StreamPart { count, began_ns: None, ended_ns: Some(30) },
            ..MainPart::default()
        };
        let renderer =
            |count| RendererPart { stream: StreamPart::sent(10, count), ..Default::default() };
        let outcome = part(7).with(renderer(7)).unwrap();
        assert_eq!((outcome.count, outcome.elapsed_ns), (7, 20));
        assert_eq!(part(7).with(renderer(0)).unwrap().count, 7);
        assert!(part(7).with(renderer(8)).is_err());
    }

    #[test]
    fn a_push_that_did_not_arrive_is_lost() {
        let part = MainPart { costs: Some(vec![50; 10]), ..MainPart::default() };
        let renderer = RendererPart { count: 8, ..RendererPart::default() };
        assert_eq!(part.with(renderer).unwrap().lost, 2);
    }
}
