//! Main's cost of one message to many renderers: `publish` once, against `send` to each.
//!
//! Only main's side is measured. The renderers have subscribed and never run their loops, so main finds all of
//! them awake. Slices of both alternate.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use serde::Serialize;

use super::{
    crowd::{Crowd, policy},
    renderer::{NEWS, Order, PUSH, Task, stamped},
};
use crate::{Error, stats::quantile, units};

const SLICES: usize = 60;
const PUBLISHES: u32 = 2000;
/// Calls of `send` to each window in a slice. All of them together leave room in every ring.
const SENDS: u32 = 40;
/// The claim: the most that each subscriber beyond those of the first row adds to a publish.
const FURTHER_NS_MAX: f64 = 10.0;

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct FanOut {
    subscribers: usize,
    /// The cost of a `publish`: the median over the slices.
    publish_ns: f64,
    publish_least_ns: f64,
    send_to_each_ns: f64,
    /// The comparison with the first row; `None` in that row.
    #[serde(skip_serializing_if = "Option::is_none")]
    further: Option<Further>,
}

/// The cost of each subscriber beyond those of the first row, and the verdict.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Further {
    /// Negative where many subscribers were cheaper than few.
    each_ns: f64,
    each_ns_max: f64,
    ok: bool,
}

pub(super) fn judge(mut rows: Vec<FanOut>) -> Vec<FanOut> {
    if let Some((first, others)) = rows.split_first_mut() {
        for row in others.iter_mut().filter(|row| row.subscribers > first.subscribers) {
            let beyond = (row.subscribers - first.subscribers) as f64;
            let each_ns = (row.publish_ns - first.publish_ns) / beyond;
            let ok = each_ns <= FURTHER_NS_MAX;
            row.further = Some(Further { each_ns, each_ns_max: FURTHER_NS_MAX, ok });
        }
    }
    rows
}

pub(super) fn measure(subscribers: usize, bar: &ProgressBar) -> Result<FanOut, Error> {
    let mut crowd = Crowd::gather(subscribers)?;
    let launched = |number| bar.set_message(format!("{number} of {subscribers} connected"));
    crowd.launch(std::iter::repeat_with(policy), launched)?;
    crowd.order(&crowd.windows, Order::timed(Task::Subscribe, Duration::ZERO))?;
    crowd.reports(subscribers)?;

    let message = stamped(1);
    let (mut publishing, mut sending) = (Vec::new(), Vec::new());
    for _ in 0..SLICES {
        publishing.push(time_each(PUBLISHES, || {
            crowd.ipc.publish(NEWS, black_box(&message)).map(|_| ())
        })?);
        sending.push(time_each(SENDS, || {
            crowd.windows.iter().try_for_each(|window| window.send(PUSH, black_box(&message)))
        })?);
    }
    let wakes: u64 = crowd.windows.iter().map(|window| window.counters().wakes).sum();
    // Only the orders may have woken them: otherwise the subscribers were not awake.
    if wakes > 4 * subscribers as u64 {
        return Err(format!("{wakes} wake-ups: the subscribers were not awake").into());
    }
    Ok(FanOut {
        subscribers,
        publish_ns: quantile(&mut publishing, 0.5),
        publish_least_ns: quantile(&mut publishing, 0.0),
        send_to_each_ns: quantile(&mut sending, 0.5),
        further: None,
    })
}

fn time_each<E>(count: u32, mut call: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    let began = Instant::now();
    for _ in 0..count {
        call()?;
    }
    Ok(began.elapsed().as_nanos() as f64 / f64::from(count))
}

pub(super) fn table(rows: &[FanOut], markdown: bool) -> String {
    let heads =
        ["subscribers", "publish", "least", "each further", "at most", "claim", "send to each"];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    for row in rows {
        let [each, most, claim] = row.further.map_or_else(
            || ["-"; 3].map(str::to_owned),
            |Further { each_ns, each_ns_max, ok }| {
                let claim = if ok { "ok" } else { "NOT MET" };
                [format!("{each_ns:.1} ns"), format!("{each_ns_max:.0} ns"), claim.to_owned()]
            },
        );
        let [publish, least, send] = [row.publish_ns, row.publish_least_ns, row.send_to_each_ns]
            .map(|ns| format!("{ns:.0} ns"));
        lines.push(vec![row.subscribers.to_string(), publish, least, each, most, claim, send]);
    }
    units::table(&lines, markdown, 0, 14)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(subscribers: usize, publish_ns: f64) -> FanOut {
        FanOut {
            subscribers,
            publish_ns,
            publish_least_ns: publish_ns,
            send_to_each_ns: 0.0,
            further: None,
        }
    }

    #[test]
    fn each_further_subscriber_has_so_much_and_no_more() {
        let rows = judge(vec![row(1, 40.0), row(11, 140.0), row(101, 1041.0), row(3, 30.0)]);
        let verdicts: Vec<_> = rows.iter().map(|row| row.further.map(|each| each.ok)).collect();
        assert_eq!(verdicts, [None, Some(true), Some(false), Some(true)]);
        let text = table(&rows, false);
        assert_eq!((text.matches(" ok").count(), text.matches("NOT MET").count()), (2, 1));
        assert!(serde_json::to_string(&rows[2]).unwrap().contains("\"ok\":false"));
    }
}
