//! One metric, and the sets of metrics.

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// The amount since the beginning. It only grows.
    Counter,
    /// The present amount.
    Gauge,
}

/// The description of one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// The name. Its suffix is the unit: `_bytes`, `_ns` for nanoseconds, none for a count.
    pub name: &'static str,
    /// Counter or gauge.
    pub kind: MetricKind,
    /// The meaning, in a sentence or two.
    pub help: &'static str,
}

/// Defines a public struct of numbers, with a description of each made from its documentation.
macro_rules! metrics {
    (
        $(#[$outer:meta])*
        pub struct $Name:ident {
            $($(#[doc = $help:literal])* $kind:ident $name:ident,)*
        }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $Name {
            $($(#[doc = $help])* pub $name: u64,)*
        }

        impl $Name {
            pub(crate) const COUNT: usize = [$(stringify!($name)),*].len();

            /// The descriptions, in the order of [`iter`](Self::iter).
            pub const DESCRIPTIONS: &[$crate::metrics::Metric] = &[$($crate::metrics::Metric {
                name: stringify!($name),
                kind: $crate::metrics::MetricKind::$kind,
                help: concat!($($help),*).trim_ascii(),
            },)*];

            /// Returns the numbers with their names.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }

            pub(crate) fn values(&self) -> [u64; Self::COUNT] {
                [$(self.$name),*]
            }

            /// Restores what [`values`](Self::values) returned.
            pub(crate) fn from_values([$($name),*]: [u64; Self::COUNT]) -> Self {
                Self { $($name),* }
            }
        }
    };
}
pub(crate) use metrics;

metrics! {
    /// The metrics of a whole endpoint: [`IpcMain::metrics`](crate::IpcMain::metrics).
    pub struct MainMetrics {
        /// Windows whose session is not over.
        Gauge windows,
        /// Inspectors that are watching.
        Gauge inspectors,
        /// Connections that were refused: not admitted, another build, or no renderer at all.
        Counter refused,
        /// Messages published on topics.
        Counter published,
        /// Times that main's loop went to sleep.
        Counter sleeps,
        /// How long these sleeps took together, in nanoseconds.
        Counter slept_ns,
    }
}

metrics! {
    /// The metrics of one session, as this process sees it: [`WebContents::metrics`](crate::WebContents::metrics),
    /// [`IpcRenderer::metrics`](crate::IpcRenderer::metrics). Its events are in its [`Counters`](crate::Counters).
    pub struct SessionMetrics {
        /// Room in the ring that this side writes, in bytes.
        Gauge outbox_capacity_bytes,
        /// How much of it the other side has not read. That side reports its position when it has read everything, and
        /// at each eighth of the ring.
        Gauge outbox_used_bytes,
        /// Room in the ring that the other side writes, in bytes.
        Gauge inbox_capacity_bytes,
        /// Invokes of this side that the other one has not answered.
        Gauge pending_invokes,
        /// Invokes of the other side that this one has not answered.
        Gauge unanswered_invokes,
        /// 1 while the other side says that it sleeps until it is rung.
        Gauge asleep,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::Counters;

    #[test]
    fn every_metric_has_a_name_of_its_own_and_says_what_it_means() {
        let sets =
            [MainMetrics::DESCRIPTIONS, SessionMetrics::DESCRIPTIONS, Counters::DESCRIPTIONS];
        let mut names: Vec<_> = sets.into_iter().flatten().map(|metric| metric.name).collect();
        assert!(sets.into_iter().flatten().all(|metric| metric.help.ends_with(['.', ')'])));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn numbers_go_with_their_names_in_the_order_of_their_descriptions() {
        let metrics = MainMetrics { windows: 3, slept_ns: 7, ..MainMetrics::default() };
        let named: Vec<_> = metrics.iter().collect();
        assert_eq!(named.first(), Some(&("windows", 3)));
        assert_eq!(named.last(), Some(&("slept_ns", 7)));
        let described = MainMetrics::DESCRIPTIONS.iter().map(|metric| metric.name);
        assert!(named.iter().map(|(name, _)| *name).eq(described));
        assert_eq!(MainMetrics::from_values(metrics.values()), metrics);
    }
}
