//! What main pays for telling many renderers the same: `publish`, once, against `send` to each.
//!
//! Only main's side is measured. The renderers are there and subscribed, and never run their loops: so
//! they never say that they sleep, and main finds all of them awake. Slices of both alternate.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    crowd::{Crowd, Interruption},
    messages::{NEWS, Order, PUSH, Task, stamped},
};
use crate::Error;

/// Slices of each.
const SLICES: usize = 60;
/// Publishes in a slice.
const PUBLISHES: u32 = 2000;
/// Sends to each window in a slice. All of them together leave room in every ring.
const SENDS: u32 = 40;
/// What is claimed: a publish to many takes no more than one to the first row's, and so much for each
/// further subscriber.
const FURTHER_NS_MAX: f64 = 10.0;

/// What one number of subscribers came to.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct FanOut {
    /// How many renderers had subscribed.
    pub subscribers: usize,
    /// A `publish`: the median over the slices.
    pub publish_ns: f64,
    /// The slice in which it was cheapest.
    pub publish_least_ns: f64,
    /// Sending the same to all of them, each by its own `send`.
    pub send_to_each_ns: f64,
    /// Beside the row with the fewest; `None` in that row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub further: Option<Further>,
}

/// What each subscriber beyond those of the first row costs a `publish`, and whether that is as claimed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Further {
    /// Less than nothing, where many were cheaper than few.
    pub each_ns: f64,
    /// The claim.
    pub each_ns_max: f64,
    /// Whether it holds.
    pub ok: bool,
}

/// Compares each with the first.
pub fn judge(mut rows: Vec<FanOut>) -> Vec<FanOut> {
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

/// Measures it for so many subscribers. Calls `advanced` with how many are connected.
///
/// # Errors
///
/// If a renderer cannot be launched, fails, or ends; or if it is interrupted.
pub fn fan_out(
    subscribers: usize,
    interruption: &Interruption,
    advanced: impl FnMut(usize),
) -> Result<FanOut, Error> {
    let mut crowd = Crowd::gather(subscribers, interruption)?;
    crowd.launch(advanced)?;
    let subscribe = Order { task: Task::Subscribe, count: 0, time_ns: 0, interval_ns: 0 };
    crowd.order(&crowd.windows, subscribe)?;
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
    // Orders have woken them; a publish or send that did so as well was no look at an awake one.
    if wakes > 4 * subscribers as u64 {
        return Err(format!("{wakes} wake-ups: the subscribers were not awake").into());
    }
    publishing.sort_by(f64::total_cmp);
    sending.sort_by(f64::total_cmp);
    crowd.dismiss()?;
    Ok(FanOut {
        subscribers,
        publish_ns: publishing[SLICES / 2],
        publish_least_ns: publishing[0],
        send_to_each_ns: sending[SLICES / 2],
        further: None,
    })
}

/// Nanoseconds of one of so many calls.
fn time_each<E>(count: u32, mut call: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    let began = Instant::now();
    for _ in 0..count {
        call()?;
    }
    let elapsed: Duration = began.elapsed();
    Ok(elapsed.as_nanos() as f64 / f64::from(count))
}

/// The table, with the verdicts.
pub fn table(rows: &[FanOut], markdown: bool) -> String {
    let mut lines = vec![
        ["subscribers", "publish", "least", "each further", "at most", "claim", "send to each"]
            .map(str::to_owned),
    ];
    for row in rows {
        let [each, most, claim] = row.further.map_or_else(
            || ["-"; 3].map(str::to_owned),
            |Further { each_ns, each_ns_max, ok }| {
                let claim = if ok { "ok" } else { "NOT MET" };
                [format!("{each_ns:.1} ns"), format!("{each_ns_max:.0} ns"), claim.to_owned()]
            },
        );
        lines.push([
            row.subscribers.to_string(),
            format!("{:.0} ns", row.publish_ns),
            format!("{:.0} ns", row.publish_least_ns),
            each,
            most,
            claim,
            format!("{:.0} ns", row.send_to_each_ns),
        ]);
    }
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        if markdown {
            text += &format!("| {} |\n", line.join(" | "));
            if number == 0 {
                text += &format!("|{}\n", " --- |".repeat(line.len()));
            }
        } else {
            let cells: String = line.iter().map(|cell| format!("{cell:>14}")).collect();
            text += &format!("{cells}\n");
        }
    }
    text
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
