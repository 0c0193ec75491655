//! What is done to whom, and in which order: the same for the same seed.
//!
//! The order of what is done is fixed by the seed, and so is what each process chooses to send. How
//! the processes interleave is the machine's affair, and never the same twice.

use std::time::Duration;

use fastrand::Rng;

use super::*;

/// How many actions there are between two pauses, in which everything that is held is counted.
pub(super) const ROUND: usize = 100;
/// Main is killed in one round of so many only, so that in the others one main process goes through
/// hundreds of deaths.
const MAIN_ROUNDS: usize = 4;

/// One act of violence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Kill { slot: usize },
    KillTwo { slots: [usize; 2] },
    Stop { slot: usize, duration: Duration },
    StopAndKill { slot: usize, duration: Duration },
    KillMain,
    StopMain { duration: Duration },
    Starve { slot: usize, of: Shortage, duration: Duration },
    StarveMain { of: Shortage, duration: Duration },
    JumpClock { seconds: i64 },
}

/// An endless list of actions.
pub(super) struct Schedule {
    rng: Rng,
    renderers: usize,
    backend: Over,
    given: usize,
}

impl Schedule {
    pub(super) fn new(seed: u64, renderers: usize, backend: Over) -> Self {
        Self { rng: Rng::with_seed(seed), renderers, backend, given: 0 }
    }

    /// Between processes that trust each other: see the command's help.
    fn kill(&mut self, kills_main: bool) -> Action {
        match self.rng.u8(..100) {
            0..=7 if kills_main => Action::KillMain,
            0..=91 => Action::Kill { slot: self.slot() },
            _ => Action::KillTwo { slots: [self.slot(), self.slot()] },
        }
    }

    fn slot(&mut self) -> usize {
        self.rng.usize(..self.renderers)
    }

    fn milliseconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.rng.u64(from..=to))
    }

    fn shortage(&mut self) -> Shortage {
        if self.rng.bool() { Shortage::Descriptors } else { Shortage::Memory }
    }
}

impl Iterator for Schedule {
    type Item = Action;

    fn next(&mut self) -> Option<Action> {
        let kills_main = self.given / ROUND % MAIN_ROUNDS == 1;
        self.given += 1;
        if self.backend == Over::Portable {
            return Some(self.kill(kills_main));
        }
        Some(match self.rng.u8(..100) {
            0..=7 if kills_main => Action::KillMain,
            0..=65 => Action::Kill { slot: self.slot() },
            66..=71 => Action::KillTwo { slots: [self.slot(), self.slot()] },
            72..=79 => Action::Stop { slot: self.slot(), duration: self.milliseconds(20, 400) },
            80..=83 => {
                Action::StopAndKill { slot: self.slot(), duration: self.milliseconds(20, 200) }
            }
            84..=87 => Action::StopMain { duration: self.milliseconds(5, 200) },
            88..=92 => Action::Starve {
                slot: self.slot(),
                of: self.shortage(),
                duration: self.milliseconds(20, 200),
            },
            93..=97 => {
                Action::StarveMain { of: self.shortage(), duration: self.milliseconds(20, 200) }
            }
            _ => Action::JumpClock { seconds: self.rng.i64(-86_400..=86_400) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(seed: u64, count: usize) -> Vec<Action> {
        first_over(Over::Sealed, seed, count)
    }

    fn first_over(backend: Over, seed: u64, count: usize) -> Vec<Action> {
        Schedule::new(seed, 8, backend).take(count).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_actions_and_another_one_others() {
        assert_eq!(first(7, 1000), first(7, 1000));
        assert_ne!(first(7, 1000), first(8, 1000));
    }

    #[test]
    fn most_actions_are_kills_and_every_kind_occurs() {
        let actions = first(1, 4 * ROUND);
        let count =
            |kind: fn(&Action) -> bool| actions.iter().filter(|action| kind(action)).count();
        assert!(count(|action| matches!(action, Action::Kill { .. })) > 2 * ROUND);
        for kind in [
            (|action| matches!(action, Action::KillTwo { .. })) as fn(&Action) -> bool,
            |action| matches!(action, Action::Stop { .. }),
            |action| matches!(action, Action::StopAndKill { .. }),
            |action| matches!(action, Action::KillMain),
            |action| matches!(action, Action::StopMain { .. }),
            |action| matches!(action, Action::Starve { of: Shortage::Descriptors, .. }),
            |action| matches!(action, Action::Starve { of: Shortage::Memory, .. }),
            |action| matches!(action, Action::StarveMain { .. }),
            |action| matches!(action, Action::JumpClock { .. }),
        ] {
            assert!(count(kind) > 0, "{actions:?}");
        }
    }

    #[test]
    fn over_the_portable_backend_all_actions_are_kills_and_every_kind_of_kill_occurs() {
        let actions = first_over(Over::Portable, 1, 4 * ROUND);
        let kinds: [fn(&Action) -> bool; 3] = [
            |action| matches!(action, Action::Kill { .. }),
            |action| matches!(action, Action::KillTwo { .. }),
            |action| matches!(action, Action::KillMain),
        ];
        for kind in kinds {
            assert!(actions.iter().any(kind), "{actions:?}");
        }
        let is_kill = |action| kinds.iter().any(|kind| kind(action));
        assert!(actions.iter().all(is_kill), "{actions:?}");
    }

    #[test]
    fn a_main_process_lives_through_three_rounds_of_four() {
        for backend in [Over::Sealed, Over::Portable] {
            let actions = first_over(backend, 3, 4 * ROUND);
            for (round, actions) in actions.chunks(ROUND).enumerate() {
                assert_eq!(actions.contains(&Action::KillMain), round == 1);
            }
        }
    }
}
