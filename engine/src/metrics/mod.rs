//! The numbers of an endpoint and of a window, by name.
//!
//! ```text
//!   loops ──count──▶ atomics ──read──▶ a set of numbers ──▶ application, inspector
//! ```
//!
//! A set of metrics is a struct of plain numbers, read at one moment, with a description of each. The suffix of a
//! name is its unit: `_bytes`, `_ns` for nanoseconds, none for a count. A read takes a few loads and does not
//! slow the loops that count.
//!
//! - [`metric`]: one number's description, and the sets of an endpoint and of a session.
//! - [`counters`]: the atomics behind a session's numbers. [`sleeps`]: a histogram of the loop's sleeps.

pub(crate) mod counters;
mod metric;
pub(crate) mod sleeps;

pub(crate) use metric::metrics;
pub use metric::{MainMetrics, Metric, MetricKind, SessionMetrics};
