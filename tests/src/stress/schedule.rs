//! The order of actions and their targets: the same for the same seed.

use fastrand::Rng;

use super::*;

/// The number of actions between two pauses, in which all holdings are counted.
pub(super) const ROUND: usize = 100;
/// Main is killed in one of so many rounds, so that in the others one main process goes through hundreds of deaths.
const MAIN_ROUNDS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Victim {
    Main,
    /// The renderer in this place.
    Slot(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Kill(Victim),
    KillTwo([Victim; 2]),
    Stop(Victim, Duration),
    StopAndKill(Victim, Duration),
    Starve(Victim, Shortage, Duration),
    /// By so many seconds.
    JumpClock(i64),
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

    fn slot(&mut self) -> Victim {
        Victim::Slot(self.rng.usize(..self.renderers))
    }

    fn milliseconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.rng.u64(from..=to))
    }

    fn starve(&mut self, victim: Victim) -> Action {
        let of = if self.rng.bool() { Shortage::Descriptors } else { Shortage::Memory };
        Action::Starve(victim, of, self.milliseconds(20, 200))
    }
}

impl Iterator for Schedule {
    type Item = Action;

    fn next(&mut self) -> Option<Action> {
        let kills_main = self.given / ROUND % MAIN_ROUNDS == 1;
        self.given += 1;
        // Processes that trust each other are only killed: see the command's help.
        let kinds = if self.backend == Over::Portable { 72 } else { 100 };
        Some(match self.rng.u8(..kinds) {
            0..=7 if kills_main => Action::Kill(Victim::Main),
            0..=65 => Action::Kill(self.slot()),
            66..=71 => Action::KillTwo([self.slot(), self.slot()]),
            72..=79 => Action::Stop(self.slot(), self.milliseconds(20, 400)),
            80..=83 => Action::StopAndKill(self.slot(), self.milliseconds(20, 200)),
            84..=87 => Action::Stop(Victim::Main, self.milliseconds(5, 200)),
            88..=92 => {
                let slot = self.slot();
                self.starve(slot)
            }
            93..=97 => self.starve(Victim::Main),
            _ => Action::JumpClock(self.rng.i64(-86_400..=86_400)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(backend: Over, seed: u64, count: usize) -> Vec<Action> {
        Schedule::new(seed, 8, backend).take(count).collect()
    }

    const KILLS: [fn(&Action) -> bool; 3] = [
        |action| matches!(action, Action::Kill(Victim::Slot(_))),
        |action| matches!(action, Action::Kill(Victim::Main)),
        |action| matches!(action, Action::KillTwo(_)),
    ];
    const OTHERS: [fn(&Action) -> bool; 7] = [
        |action| matches!(action, Action::Stop(Victim::Slot(_), _)),
        |action| matches!(action, Action::StopAndKill(Victim::Slot(_), _)),
        |action| matches!(action, Action::Stop(Victim::Main, _)),
        |action| matches!(action, Action::Starve(Victim::Slot(_), Shortage::Descriptors, _)),
        |action| matches!(action, Action::Starve(Victim::Slot(_), Shortage::Memory, _)),
        |action| matches!(action, Action::Starve(Victim::Main, ..)),
        |action| matches!(action, Action::JumpClock(_)),
    ];

    #[test]
    fn the_same_seed_gives_the_same_actions_and_another_one_others() {
        assert_eq!(first(Over::Sealed, 7, 1000), first(Over::Sealed, 7, 1000));
        assert_ne!(first(Over::Sealed, 7, 1000), first(Over::Sealed, 8, 1000));
    }

    #[test]
    fn most_actions_are_kills_and_every_kind_occurs() {
        let actions = first(Over::Sealed, 1, 4 * ROUND);
        assert!(actions.iter().filter(|action| KILLS[0](action)).count() > 2 * ROUND);
        for kind in KILLS.into_iter().chain(OTHERS) {
            assert!(actions.iter().any(kind), "{actions:?}");
        }
    }

    #[test]
    fn over_the_portable_backend_all_actions_are_kills_and_every_kind_of_kill_occurs() {
        let actions = first(Over::Portable, 1, 4 * ROUND);
        for kind in KILLS {
            assert!(actions.iter().any(kind), "{actions:?}");
        }
        assert!(actions.iter().all(|action| KILLS.iter().any(|kind| kind(action))), "{actions:?}");
    }

    #[test]
    fn a_main_process_lives_through_three_rounds_of_four() {
        for backend in [Over::Sealed, Over::Portable] {
            let actions = first(backend, 3, 4 * ROUND);
            for (round, actions) in actions.chunks(ROUND).enumerate() {
                assert_eq!(actions.contains(&Action::Kill(Victim::Main)), round == 1);
            }
        }
    }
}
