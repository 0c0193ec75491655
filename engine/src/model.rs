//! Marks at the places that an argument about memory order depends on, and the check that a model notices each.
//!
//! `guarded!("HeadCell::commit: Release", Release)` is `Release` in every build but one. In a model that
//! runs without that place it is `Relaxed`. [`check`] runs a loom model as the code is, where it must pass. Then it
//! runs the model once for each place that the model names, with that place taken out, where it must fail. A model
//! that cannot fail proves nothing.

/// Is the first expression. In a model that runs without `place` it is the second, or nothing; an ordering is Relaxed.
#[cfg(not(all(loom, test)))]
macro_rules! guarded {
    ($place:literal, Acquire) => {
        crate::primitives::Ordering::Acquire
    };
    ($place:literal, Release) => {
        crate::primitives::Ordering::Release
    };
    ($place:literal, $as_it_is:expr $(, else $without:expr)?) => {
        $as_it_is
    };
}

#[cfg(all(loom, test))]
macro_rules! guarded {
    ($place:literal, Acquire) => {
        crate::model::ordering($place, crate::primitives::Ordering::Acquire)
    };
    ($place:literal, Release) => {
        crate::model::ordering($place, crate::primitives::Ordering::Release)
    };
    ($place:literal, $as_it_is:expr) => {
        if !crate::model::is_taken_out($place) {
            _ = $as_it_is;
        }
    };
    ($place:literal, $as_it_is:expr, else $without:expr) => {
        if crate::model::is_taken_out($place) { $without } else { $as_it_is }
    };
}

pub(crate) use guarded;

#[cfg(all(loom, test))]
pub(crate) use checked::{DEADLOCK, RACE, WRONG, check, check_bounded, is_taken_out, ordering};

#[cfg(all(loom, test))]
mod checked {
    use std::{any::type_name, env, process::Command, sync::OnceLock};

    use loom::model::Builder;

    use crate::primitives::Ordering;

    /// Every thread waits, and no thread is left to end that.
    pub(crate) const DEADLOCK: &str = "deadlock";
    /// Two threads touch plain data, and neither happens before the other.
    pub(crate) const RACE: &str = "Causality violation";
    /// An `assert` of the model.
    pub(crate) const WRONG: &str = "assertion";

    /// Names the place that this process takes out.
    const VARIABLE: &str = "RINGBRIDGE_WITHOUT";
    /// The search for a failure ends after this time. The intact model may take as long as it needs.
    const SEARCH_SECONDS_MAX: &str = "60";

    fn taken_out() -> Option<&'static str> {
        static PLACE: OnceLock<Option<String>> = OnceLock::new();
        PLACE.get_or_init(|| env::var(VARIABLE).ok()).as_deref()
    }

    pub(crate) fn ordering(place: &str, as_it_is: Ordering) -> Ordering {
        if is_taken_out(place) { Ordering::Relaxed } else { as_it_is }
    }

    pub(crate) fn is_taken_out(place: &str) -> bool {
        taken_out() == Some(place)
    }

    /// Checks every interleaving of `scene`, and that it fails without each of the places that it `notices`.
    ///
    /// A place comes with a part of the message that the model must fail with, so that it fails for this reason and
    /// for no other. `scene` is a closure that stands in the function of the test.
    pub(crate) fn check(notices: &[(&str, &str)], scene: impl Fn() + Send + Sync + 'static) {
        run(Builder::new(), notices, scene);
    }

    /// As [`check`], with at most `preemptions_max` preemptions of a thread.
    pub(crate) fn check_bounded(
        preemptions_max: usize,
        notices: &[(&str, &str)],
        scene: impl Fn() + Send + Sync + 'static,
    ) {
        let mut builder = Builder::new();
        builder.preemption_bound = Some(preemptions_max);
        run(builder, notices, scene);
    }

    fn run<F: Fn() + Send + Sync + 'static>(builder: Builder, notices: &[(&str, &str)], scene: F) {
        builder.check(scene);
        if taken_out().is_some() {
            return;
        }
        assert!(!notices.is_empty(), "a model notices something");
        let path = type_name::<F>();
        let test = path.split_once("::").and_then(|(_, path)| path.split_once("::{{closure}}"));
        let (test, _) = test.unwrap_or_else(|| panic!("{path} is no closure of a test"));
        for (place, says) in notices {
            // A process of its own: a model that fails leaves loom's state behind.
            let output = Command::new(env::current_exe().unwrap())
                .args(["--exact", test, "--nocapture", "--test-threads=1"])
                .env(VARIABLE, place)
                .env("LOOM_MAX_DURATION", SEARCH_SECONDS_MAX)
                .env("RUST_BACKTRACE", "0")
                .output()
                .unwrap();
            let printed = [output.stdout, output.stderr].concat();
            let printed = String::from_utf8_lossy(&printed);
            assert!(printed.contains("running 1 test"), "there is no test {test}:\n{printed}");
            assert!(!output.status.success(), "{test} passes without `{place}`");
            assert!(
                printed.contains(says),
                "{test} does not say `{says}` without `{place}`:\n{printed}"
            );
        }
    }
}
