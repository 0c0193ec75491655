//! Every place in the engine that orders memory: what it pairs with, which model says so, and what must be
//! broken for the model to fail. `docs/memory-order.md` shows the list to people.

/// Two sides that order memory for each other.
pub(crate) struct Pairing {
    /// What is handed over, or kept apart.
    pub(crate) what: &'static str,
    /// The two sides, as people find them.
    pub(crate) sides: [&'static str; 2],
    pub(crate) breaks: &'static [Break],
}

/// One thing taken out, and the model that notices.
pub(crate) struct Break {
    /// What is missing.
    pub(crate) what: &'static str,
    /// The path below `src`.
    pub(crate) file: &'static str,
    /// The one function of that file whose text begins like this after `fn `.
    pub(crate) function: &'static str,
    /// A text that is once in that function: an expression, or whole statements without a `let`.
    pub(crate) find: &'static str,
    /// What takes its place. Nothing: it is left out.
    pub(crate) replace: &'static str,
    pub(crate) model: &'static str,
    /// Part of what the failing model says, so that it fails for this and for nothing else.
    pub(crate) says: &'static str,
}

/// Orders memory, and has no model of its own that fails without it.
pub(crate) struct Unmodelled {
    pub(crate) file: &'static str,
    pub(crate) functions: &'static [&'static str],
    pub(crate) why: &'static str,
}

/// Accesses that order nothing (Relaxed) and stand in no pairing.
pub(crate) struct Unordered {
    pub(crate) file: &'static str,
    pub(crate) why: &'static str,
}

/// Everybody waits, and nobody is left to end that.
const DEADLOCK: &str = "deadlock";
/// Two threads touch plain data, and neither happens before the other.
const RACE: &str = "Causality violation";
/// An `assert` of the model.
const WRONG: &str = "assertion";

const EVENT: &str =
    "portable::event_sleep::loom_tests::loom_a_ring_reaches_whoever_sleeps_or_is_about_to";
const HERE: &str =
    "portable::rendezvous::loom_tests::loom_who_is_seen_to_be_here_has_said_who_it_is";
const LEFT: &str = "portable::rendezvous::loom_tests::loom_what_was_written_before_leaving_is_seen_by_who_sees_that";
const CLAIMED: &str = "portable::rendezvous::loom_tests::loom_who_knocks_and_who_answers_is_heard_with_all_that_it_has_said";
const GENERATION: &str =
    "portable::rendezvous::loom_tests::loom_no_ring_is_lost_when_main_goes_on_to_another_event";
const FRAMES: &str = "ring::tests::loom::loom_two_frames_across_a_pad_arrive_whole_and_in_order";
const LAPS: &str = "ring::tests::loom::loom_what_an_earlier_lap_left_is_never_taken_for_a_frame";
const ROOM: &str = "ring::tests::loom::loom_room_is_used_again_only_after_it_was_read";
const SLEEPER: &str = "ring::tests::loom::loom_a_sleeper_never_misses_a_frame";
const ROOM_SLEEPER: &str = "ring::tests::loom::loom_a_sleeper_never_misses_room";
const TOPIC: &str = "ring::broadcast::tests::loom::loom_a_copy_is_whole_or_counted_as_lost";
const LATEST: &str = "ring::broadcast::tests::loom::loom_the_latest_is_later_than_the_last_one";
const JOINING: &str =
    "ring::broadcast::tests::loom::loom_a_reader_that_joins_counts_from_where_it_joined";
const PLACE: &str = "wire::words::loom_tests::loom_a_place_is_written_again_only_after_it_was_read";
const SEAT: &str = "wake::driver_lock::loom_tests::loom_nobody_sleeps_beside_a_free_seat";
const FAVOUR: &str = "sync::owner_lock::loom_tests::loom_one_thread_at_a_time_is_inside_while_the_favour_is_withdrawn";
const STRANGERS: &str =
    "sync::owner_lock::loom_tests::loom_two_strangers_may_both_want_to_be_the_favourite";
const HINT: &str = "peer::timed_requests::loom_tests::loom_a_request_is_found_or_leaves_a_hint";
const INTERRUPTED: &str = "wake::bell::loom_tests::loom_a_sleeper_sees_what_it_is_interrupted_for";
const TWO_SENDERS: &str =
    "wake::bell::loom_tests::loom_a_sleeper_to_whom_two_threads_send_misses_neither";
const ALARM: &str =
    "ring::tests::loom::loom_a_sleeper_without_an_alarm_is_rung_whatever_alarms_it_had";
const TWO_WAITERS: &str = "wake::space_waiters::loom_tests::loom_of_two_threads_that_wait_for_room_neither_sleeps_beside_its_own";
const RAISED: &str =
    "sync::flag::loom_tests::loom_who_sees_a_flag_raised_sees_what_it_was_raised_for";
const TAKEN_DOWN: &str =
    "sync::flag::loom_tests::loom_who_takes_a_flag_down_sees_what_every_thread_raised_it_for";
const READY: &str =
    "wake::executor::loom_tests::loom_a_loop_never_sleeps_beside_a_task_that_is_ready";
const CANCELLED: &str = "wake::executor::loom_tests::loom_a_task_that_is_cancelled_while_it_is_polled_is_dropped_all_the_same";
const TOLD: &str =
    "peer::incoming_request::loom_tests::loom_who_wants_to_hear_of_a_cancel_hears_of_it_once";
const RUNS: &str =
    "sync::reentrancy::loom_tests::loom_one_run_at_a_time_and_each_sees_what_the_last_one_left";
const IN_HAND: &str =
    "peer::outgoing_requests::loom_tests::loom_every_slot_is_freed_whose_reply_was_in_hand";
const UNREAD: &str =
    "peer::outgoing_requests::loom_tests::loom_the_next_driver_sees_what_the_last_one_stored";
const DEFERRED: &str = "peer::outgoing_requests::loom_tests::loom_a_cancel_is_sent_before_its_slot_is_used_again_and_never_forgotten";
const CHANGED: &str =
    "sync::snapshot::loom_tests::loom_no_reader_keeps_what_was_changed_before_it_looked";
const CALLER: &str = "peer::request_table::loom_tests::loom_a_caller_never_sleeps_beside_its_reply";
const SETTLED: &str =
    "peer::request_table::loom_tests::loom_a_request_is_settled_once_and_its_successor_by_neither";

pub(crate) const PAIRINGS: &[Pairing] = &[
    Pairing {
        what: "a frame and everything in it",
        sides: ["`HeadCell::commit`: Release", "`HeadCell::observe`: Acquire"],
        breaks: &[
            Break {
                what: "the commit's Release",
                file: "ring/commit.rs",
                function: "commit",
                find: "self.cell[0].store(header.to_commit_word() | self.lap, Release)",
                replace: "self.cell[0].store(header.to_commit_word() | self.lap, Relaxed)",
                model: FRAMES,
                says: WRONG,
            },
            Break {
                what: "the look's Acquire",
                file: "ring/commit.rs",
                function: "observe",
                find: "self.cell[0].load(Acquire)",
                replace: "self.cell[0].load(Relaxed)",
                model: FRAMES,
                says: WRONG,
            },
        ],
    },
    Pairing {
        what: "nothing where no frame is yet",
        sides: ["`HeadCell::guard`, before the commit", "`HeadCell::observe`"],
        breaks: &[
            Break {
                what: "the guard",
                file: "ring/commit.rs",
                function: "guard",
                find: "self.cell[0].store(self.lap, Relaxed);",
                replace: "",
                model: LAPS,
                says: WRONG,
            },
            Break {
                what: "the guard before the commit and not behind it",
                file: "ring/producer.rs",
                function: "commit",
                find: COMMITS,
                replace: "self.cells.head(start).commit(header);
                    if reservation.pad != 0 {
                        self.cells.head(reservation.position).commit(Header::pad(reservation.pad as usize));
                    }
                    self.cells.head(end).guard();",
                model: LAPS,
                says: WRONG,
            },
        ],
    },
    Pairing {
        what: "the place of a frame that was not read yet",
        sides: ["`Consumer::publish`, after the copy", "`Producer::reserve`, before it is written again"],
        breaks: &[Break {
            what: "the check for room",
            file: "ring/producer.rs",
            function: "reserve",
            find: "if wanted > self.room() {
                return Err(ReserveError::Full);
            }",
            replace: "",
            model: ROOM,
            says: WRONG,
        }],
    },
    Pairing {
        what: "what was written below a position, or finished with",
        sides: ["`Cursor::publish`: Release", "`Cursor::observe`: Acquire"],
        breaks: &[
            Break {
                what: "the Release of a topic's position",
                file: "wire/words.rs",
                function: "publish",
                find: "self.0.store(position, Release)",
                replace: "self.0.store(position, Relaxed)",
                model: TOPIC,
                says: WRONG,
            },
            Break {
                what: "the Acquire of a topic's position",
                file: "wire/words.rs",
                function: "observe",
                find: "self.0.load(Acquire)",
                replace: "self.0.load(Relaxed)",
                model: TOPIC,
                says: WRONG,
            },
            Break {
                what: "the Release of what a consumer has read",
                file: "wire/words.rs",
                function: "publish",
                find: "self.0.store(position, Release)",
                replace: "self.0.store(position, Relaxed)",
                model: PLACE,
                says: RACE,
            },
            Break {
                what: "the Acquire of what a consumer has read",
                file: "wire/words.rs",
                function: "observe",
                find: "self.0.load(Acquire)",
                replace: "self.0.load(Relaxed)",
                model: PLACE,
                says: RACE,
            },
        ],
    },
    Pairing {
        what: "a copy from a topic that the writer overwrites",
        sides: ["`Claim::stake`: Release fence", "`Claim::staked`: Acquire fence"],
        breaks: &[
            Break {
                what: "the writer's fence",
                file: "wire/words.rs",
                function: "stake",
                find: "fence(Release);",
                replace: "",
                model: TOPIC,
                says: WRONG,
            },
            Break {
                what: "the reader's fence",
                file: "wire/words.rs",
                function: "staked",
                find: "fence(Acquire);",
                replace: "",
                model: TOPIC,
                says: WRONG,
            },
            Break {
                what: "the look at the claim",
                file: "ring/broadcast.rs",
                function: "read",
                find: "self.control.claim.staked().wrapping_sub(from)",
                replace: "0",
                model: TOPIC,
                says: WRONG,
            },
            Break {
                what: "one look for the newest message, and not two",
                file: "ring/broadcast.rs",
                function: "receive",
                find: "newest == self.last",
                replace: "!self.has_news()",
                model: LATEST,
                says: WRONG,
            },
            Break {
                what: "a joining reader's place and count from one record",
                file: "ring/broadcast.rs",
                function: "new(memory: TopicMemory) -> Self",
                find: "reader.read(reader.control.newest.observe(), |_, _| ())",
                replace: "reader.read(newest, |_, _| ()).map(|record| {
                    let end = reader.control.newest.observe().wrapping_add(CELL as u64);
                    Record { end, ..record }
                })",
                model: JOINING,
                says: WRONG,
            },
        ],
    },
    Pairing {
        what: "asleep, or work: a frame or room",
        sides: [
            "`Epoch::announce`: SeqCst fence between the epoch and the last look",
            "`fence_before_look`: SeqCst fence between the work and the look at the epoch",
        ],
        breaks: &[
            Break {
                what: "the sleeper's fence, with a frame",
                file: "wire/words.rs",
                function: "announce",
                find: "fence(SeqCst);",
                replace: "",
                model: SLEEPER,
                says: DEADLOCK,
            },
            Break {
                what: "the sleeper's fence, with room",
                file: "wire/words.rs",
                function: "announce",
                find: "fence(SeqCst);",
                replace: "",
                model: ROOM_SLEEPER,
                says: DEADLOCK,
            },
            Break {
                what: "the waker's fence, with a frame",
                file: "wire/words.rs",
                function: "fence_before_look",
                find: "fence(SeqCst);",
                replace: "",
                model: SLEEPER,
                says: DEADLOCK,
            },
            Break {
                what: "the waker's fence, with room",
                file: "wire/words.rs",
                function: "fence_before_look",
                find: "fence(SeqCst);",
                replace: "",
                model: ROOM_SLEEPER,
                says: DEADLOCK,
            },
        ],
    },
    Pairing {
        what: "the driver's part, from driver to driver",
        sides: ["`DriverGuard::drop`: Release", "`DriverLock::try_take`: Acquire"],
        breaks: &[
            Break {
                what: "the Release of who leaves",
                file: "wake/driver_lock.rs",
                function: "drop",
                find: "self.driver_lock.state.swap(FREE, Release)",
                replace: "self.driver_lock.state.swap(FREE, Relaxed)",
                model: SEAT,
                says: RACE,
            },
            Break {
                what: "the Acquire of who takes it",
                file: "wake/driver_lock.rs",
                function: "try_take",
                find: "self.state.compare_exchange(FREE, TAKEN, Acquire, Relaxed)",
                replace: "self.state.compare_exchange(FREE, TAKEN, Relaxed, Relaxed)",
                model: SEAT,
                says: RACE,
            },
            Break {
                what: "that a free driver lock cannot be wanted",
                file: "wake/driver_lock.rs",
                function: "take_or_queue",
                find: "self.state.compare_exchange(TAKEN, WANTED, Relaxed, Relaxed)",
                replace: "{ self.state.store(WANTED, Relaxed); Ok::<u32, u32>(TAKEN) }",
                model: SEAT,
                says: DEADLOCK,
            },
        ],
    },
    Pairing {
        what: "one thread inside a biased lock",
        sides: [
            "`OwnerLock::enter`, `leave`: light fence between the own mark and the look at the favour",
            "`OwnerLock::withdraw`: heavy fence between the end of the favour and the look at the mark",
        ],
        breaks: &[
            Break {
                what: "the favourite's fence on its way in",
                file: "sync/owner_lock.rs",
                function: "enter",
                find: "light_fence();",
                replace: "",
                model: FAVOUR,
                says: RACE,
            },
            Break {
                what: "the favourite's fence on its way out",
                file: "sync/owner_lock.rs",
                function: "leave",
                find: "light_fence();",
                replace: "",
                model: FAVOUR,
                says: DEADLOCK,
            },
            Break {
                what: "the heavy fence",
                file: "sync/owner_lock.rs",
                function: "withdraw",
                find: "heavy_fence();",
                replace: "",
                model: FAVOUR,
                says: RACE,
            },
            Break {
                what: "that a stranger withdraws the favour",
                file: "sync/owner_lock.rs",
                function: "enter_as_other",
                find: "self.withdraw();",
                replace: "",
                model: STRANGERS,
                says: RACE,
            },
        ],
    },
    Pairing {
        what: "what the favourite did inside",
        sides: ["`OwnerLock::leave`: Release", "`OwnerLock::withdraw`: Acquire"],
        breaks: &[
            Break {
                what: "the Release",
                file: "sync/owner_lock.rs",
                function: "leave",
                find: "self.favourite_inside.store(false, Release)",
                replace: "self.favourite_inside.store(false, Relaxed)",
                model: FAVOUR,
                says: RACE,
            },
            Break {
                what: "the Acquire",
                file: "sync/owner_lock.rs",
                function: "withdraw",
                find: "self.favourite_inside.load(Acquire)",
                replace: "self.favourite_inside.load(Relaxed)",
                model: FAVOUR,
                says: RACE,
            },
        ],
    },
    Pairing {
        what: "a request with a deadline: found in its table, or hinted at",
        sides: [
            "`TimedRequests::begun`, after the table's lock",
            "`TimedRequests::look`, before the table's lock",
        ],
        breaks: &[Break {
            what: "that the hint is withdrawn before the look",
            file: "peer/timed_requests.rs",
            function: "look",
            find: "look()",
            replace: "{ let next = look(); self.0.store(false, Ordering::Relaxed); next }",
            model: HINT,
            says: WRONG,
        }],
    },
    Pairing {
        what: "a request's outcome, from who settles it to who waits",
        sides: ["`RequestTable::settle`, under the table's lock", "`RequestTable::notify`, under it too"],
        breaks: &[
            Break {
                what: "that who comes late is told so",
                file: "peer/request_table.rs",
                function: "notify",
                find: "Ok(false)",
                replace: "Ok(true)",
                model: CALLER,
                says: DEADLOCK,
            },
            Break {
                what: "the generation",
                file: "peer/request_table.rs",
                function: "slot",
                find: "slot.generation == id.generation()",
                replace: "true",
                model: SETTLED,
                says: WRONG,
            },
        ],
    },
    Pairing {
        what: "what a thread is interrupted for",
        sides: ["`Interrupt::raise`: Release", "`Interrupt::read`: Acquire, before the last look"],
        breaks: &[
            Break {
                what: "the Release",
                file: "wake/bell.rs",
                function: "raise",
                find: "self.word.fetch_add(1, Ordering::Release)",
                replace: "self.word.fetch_add(1, Ordering::Relaxed)",
                model: INTERRUPTED,
                says: DEADLOCK,
            },
            Break {
                what: "the Acquire",
                file: "wake/bell.rs",
                function: "read",
                find: "self.word.load(Ordering::Acquire)",
                replace: "self.word.load(Ordering::Relaxed)",
                model: INTERRUPTED,
                says: DEADLOCK,
            },
        ],
    },
    Pairing {
        what: "a peer that is rung once for each of its sleeps, by whichever thread",
        sides: ["`PeerBell::ring_once`, behind `fence_before_look`", "`Epoch::announce`, anew for each sleep"],
        breaks: &[
            Break {
                what: "that each sleep is rung for, and not only the first",
                file: "wake/bell.rs",
                function: "ring_once",
                find: "rung.swap(epoch, Ordering::Relaxed) != epoch",
                replace: "rung.swap(epoch, Ordering::Relaxed) == 0",
                model: TWO_SENDERS,
                says: DEADLOCK,
            },
            Break {
                what: "that a sleep has a number of its own",
                file: "wire/words.rs",
                function: "announce",
                find: "self.0.load(Relaxed).wrapping_add(1) | 1",
                replace: "1",
                model: TWO_SENDERS,
                says: DEADLOCK,
            },
            Break {
                what: "that a ring changes what the sleeper has read",
                file: "wake/bell.rs",
                function: "ring_bell",
                find: "self.own.bell.bump();",
                replace: "",
                model: TWO_SENDERS,
                says: DEADLOCK,
            },
        ],
    },
    Pairing {
        what: "room that several threads wait for, by one word",
        sides: ["`SpaceWaiters::ask`, anew before each sleep", "`PeerBell::room_published`, once for each asking"],
        breaks: &[
            Break {
                what: "that each asks anew",
                file: "wake/space_waiters.rs",
                function: "ask",
                find: "self.own.space_wanted.announce();",
                replace: "if self.own.space_wanted.asleep().is_none() { self.own.space_wanted.announce(); }",
                model: TWO_WAITERS,
                says: DEADLOCK,
            },
            Break {
                what: "that only the last one says that nobody waits",
                file: "wake/space_waiters.rs",
                function: "end_waiting",
                find: "*waiters == 0",
                replace: "true",
                model: TWO_WAITERS,
                says: DEADLOCK,
            },
        ],
    },
    Pairing {
        what: "when a sleep ends by itself, so that it need not be rung for",
        sides: ["`Alarm::set`, before `Epoch::announce`", "`Alarm::is_near`, behind `fence_before_look`"],
        breaks: &[Break {
            what: "that a sleep without an alarm takes the last one's away",
            file: "wire/words.rs",
            function: "set(&self, at_ns",
            find: "self.0.store(at_ns.unwrap_or(0), Relaxed);",
            replace: "if let Some(at_ns) = at_ns { self.0.store(at_ns, Relaxed); }",
            model: ALARM,
            says: DEADLOCK,
        }],
    },
    Pairing {
        what: "what the threads of a process sleep for, on one event that ends one wait",
        sides: [
            "`EventSleep::ring`, behind the change",
            "`EventSleep::sleep_while`, under the lock; `Listening::drop`, for those who do not listen",
        ],
        breaks: &[
            Break {
                what: "that who has listened wakes the others",
                file: "portable/event_sleep.rs",
                function: "drop",
                find: "self.0.returned.notify_all();",
                replace: "",
                model: EVENT,
                says: DEADLOCK,
            },
            Break {
                what: "that only one listens",
                file: "portable/event_sleep.rs",
                function: "sleep_while",
                find: "*listening = true;",
                replace: "",
                model: EVENT,
                says: DEADLOCK,
            },
            Break {
                what: "the look behind the lock",
                file: "portable/event_sleep.rs",
                function: "sleep_while",
                find: "!unchanged()",
                replace: "false",
                model: EVENT,
                says: DEADLOCK,
            },
            Break {
                what: "that who listens says so no more",
                file: "portable/event_sleep.rs",
                function: "drop",
                find: "*self.0.listening.lock() = false;",
                replace: "",
                model: EVENT,
                says: DEADLOCK,
            },
        ],
    },
    Pairing {
        what: "what a flag was raised for",
        sides: ["`Flag::raise`: Release", "`Flag::is_raised`, `take`: Acquire"],
        breaks: &[
            Break {
                what: "the Release",
                file: "sync/flag.rs",
                function: "raise",
                find: "self.0.swap(true, Release);",
                replace: "self.0.swap(true, crate::sync::Ordering::Relaxed);",
                model: RAISED,
                says: WRONG,
            },
            Break {
                what: "the Acquire of who looks",
                file: "sync/flag.rs",
                function: "is_raised",
                find: "self.0.load(Acquire)",
                replace: "self.0.load(crate::sync::Ordering::Relaxed)",
                model: RAISED,
                says: WRONG,
            },
            Break {
                what: "the Acquire of who takes it down",
                file: "sync/flag.rs",
                function: "take",
                find: "self.0.swap(false, Acquire)",
                replace: "self.0.swap(false, crate::sync::Ordering::Relaxed)",
                model: TAKEN_DOWN,
                says: "raised for nothing",
            },
            Break {
                what: "the exchange, for a store",
                file: "sync/flag.rs",
                function: "raise",
                find: "self.0.swap(true, Release);",
                replace: "self.0.store(true, Release);",
                model: TAKEN_DOWN,
                says: "raised for nothing",
            },
        ],
    },
    Pairing {
        what: "a task that is ready: polled, or the loop is interrupted",
        sides: [
            "`Executor::enqueue`, under the queue's lock, then the interrupt",
            "`Executor::run_queued`, under the queue's lock; `has_ready`, after the interrupt was read",
        ],
        breaks: &[
            Break {
                what: "that the hint is withdrawn under the lock",
                file: "wake/executor.rs",
                function: "run_queued",
                find: "std::mem::take(&mut *ready)",
                replace: "{
                    let taken = std::mem::take(&mut *ready);
                    drop(ready);
                    self.has_ready.store(false, Ordering::Relaxed);
                    taken
                }",
                model: READY,
                says: DEADLOCK,
            },
            Break {
                what: "the interrupt",
                file: "wake/executor.rs",
                function: "enqueue",
                find: "(self.interrupt)();",
                replace: "",
                model: READY,
                says: DEADLOCK,
            },
        ],
    },
    Pairing {
        what: "a task that is cancelled: dropped by who cancels it, or by who polls it",
        sides: ["`Task::cancel`: the flag, then the future's lock", "`Task::poll`: the lock, then the flag"],
        breaks: &[Break {
            what: "the look at the flag behind a poll",
            file: "wake/executor.rs",
            function: "poll",
            find: "self.cancelled.is_raised()",
            replace: "false",
            model: CANCELLED,
            says: WRONG,
        }],
    },
    Pairing {
        what: "a handler that wants to hear of a cancel: told by who cancels, or at once",
        sides: ["`IncomingRequest::cancel`: the flag, then the lock", "`IncomingRequest::leave`: the lock, then the flag"],
        breaks: &[Break {
            what: "the look at the flag",
            file: "peer/incoming_request.rs",
            function: "leave",
            find: "self.is_cancelled()",
            replace: "false",
            model: TOLD,
            says: WRONG,
        }],
    },
    Pairing {
        what: "what one run of a loop leaves to the next",
        sides: ["`RunningGuard::drop`: Release", "`Running::begin`: Acquire"],
        breaks: &[
            Break {
                what: "the Release",
                file: "sync/reentrancy.rs",
                function: "drop(&mut self) {\n        self.0",
                find: "self.0.0.store(false, Ordering::Release)",
                replace: "self.0.0.store(false, Ordering::Relaxed)",
                model: RUNS,
                says: RACE,
            },
            Break {
                what: "the Acquire",
                file: "sync/reentrancy.rs",
                function: "begin",
                find: "self.0.swap(true, Ordering::Acquire)",
                replace: "self.0.swap(true, Ordering::Relaxed)",
                model: RUNS,
                says: RACE,
            },
        ],
    },
    Pairing {
        what: "a value that changes seldom: seen by the next look, and not forgotten",
        sides: ["`Snapshot::update`: counted under the lock", "`Snapshot::cached`: the count before the lock"],
        breaks: &[
            Break {
                what: "that the count is read before the value",
                file: "sync/snapshot.rs",
                function: "cached",
                find: "Cached { version, value: self.load() }",
                replace: "{
                    let _ = version;
                    let value = self.load();
                    Cached { version: self.version.load(Relaxed), value }
                }",
                model: CHANGED,
                says: WRONG,
            },
            Break {
                what: "the count",
                file: "sync/snapshot.rs",
                function: "update",
                find: "self.version.fetch_add(1, Relaxed);",
                replace: "",
                model: CHANGED,
                says: WRONG,
            },
        ],
    },
    Pairing {
        what: "a slot whose reply is in its caller's hands: freed once, by who next locks the table",
        sides: ["`Pending::settled_in_hand`, by the driver", "`Pending::work`, under the lock"],
        breaks: &[
            Break {
                what: "that only an empty hand is filled",
                file: "peer/outgoing_requests.rs",
                function: "settled_in_hand",
                find: "self.in_hand.load(Relaxed) == 0",
                replace: "true",
                model: IN_HAND,
                says: "a slot was lost",
            },
            Break {
                what: "that what is in hand is freed",
                file: "peer/outgoing_requests.rs",
                function: "work",
                find: "table.retract(id);",
                replace: "",
                model: IN_HAND,
                says: "a slot was lost",
            },
        ],
    },
    Pairing {
        what: "a stored reply: seen by the next driver",
        sides: ["`Pending::work`, and then the driver_lock", "the driver_lock, and then `Pending::has_unread`"],
        breaks: &[
            Break {
                what: "that it is said at all",
                file: "peer/outgoing_requests.rs",
                function: "work",
                find: "self.unread.store(table.done() as u64, Relaxed);",
                replace: "",
                model: UNREAD,
                says: WRONG,
            },
            Break {
                what: "the Release of who leaves the driver_lock",
                file: "wake/driver_lock.rs",
                function: "drop",
                find: "self.driver_lock.state.swap(FREE, Release)",
                replace: "self.driver_lock.state.swap(FREE, Relaxed)",
                model: UNREAD,
                says: WRONG,
            },
        ],
    },
    Pairing {
        what: "a cancel: sent before its slot is used again, and never forgotten",
        sides: ["`Pending::work`: the flag, under the table's lock", "`Pending::send_cancels`, under it too"],
        breaks: &[
            Break {
                what: "that the flag is raised",
                file: "peer/outgoing_requests.rs",
                function: "work",
                find: "self.deferred.store(true, Relaxed);",
                replace: "",
                model: DEFERRED,
                says: "the cancel comes first",
            },
            Break {
                what: "that the flag is lowered under the lock",
                file: "peer/outgoing_requests.rs",
                function: "send_cancels",
                find: "self.deferred.store(false, Relaxed);",
                replace: "drop(table); self.deferred.store(false, Relaxed);",
                model: DEFERRED,
                says: "the cancel comes first",
            },
        ],
    },
    Pairing {
        what: "who a process of a portable endpoint is, and that it is here",
        sides: ["`Presence::enter`: Release", "`Presence::who`: Acquire"],
        breaks: &[
            Break {
                what: "the Release",
                file: "portable/rendezvous.rs",
                function: "enter",
                find: "self.state.store(HERE, Release);",
                replace: "self.state.store(HERE, crate::sync::Ordering::Relaxed);",
                model: HERE,
                says: WRONG,
            },
            Break {
                what: "the Acquire",
                file: "portable/rendezvous.rs",
                function: "who",
                find: "self.state.load(Acquire)",
                replace: "self.state.load(crate::sync::Ordering::Relaxed)",
                model: HERE,
                says: WRONG,
            },
        ],
    },
    Pairing {
        what: "what was written before an end, or a ring",
        sides: ["`Presence::leave`, `Farewell::say`, `Rung::set`: Release", "`Presence::has_left`, `Farewell::is_said`, `Rung::hear`: Acquire"],
        breaks: &[
            Break {
                what: "the Release of who leaves",
                file: "portable/rendezvous.rs",
                function: "leave",
                find: "self.state.store(LEFT, Release);",
                replace: "self.state.store(LEFT, crate::sync::Ordering::Relaxed);",
                model: LEFT,
                says: "heard of too early",
            },
            Break {
                what: "the Acquire of who sees that",
                file: "portable/rendezvous.rs",
                function: "has_left",
                find: "self.state.load(Acquire)",
                replace: "self.state.load(crate::sync::Ordering::Relaxed)",
                model: LEFT,
                says: "heard of too early",
            },
            Break {
                what: "main's Release",
                file: "portable/rendezvous.rs",
                function: "say",
                find: "self.0.store(1, Release);",
                replace: "self.0.store(1, crate::sync::Ordering::Relaxed);",
                model: LEFT,
                says: "heard of too early",
            },
            Break {
                what: "the Acquire of who sees main's end",
                file: "portable/rendezvous.rs",
                function: "is_said",
                find: "self.0.load(Acquire)",
                replace: "self.0.load(crate::sync::Ordering::Relaxed)",
                model: LEFT,
                says: "heard of too early",
            },
            Break {
                what: "the Release of who rings",
                file: "portable/rendezvous.rs",
                function: "set",
                find: "self.0.store(1, Release);",
                replace: "self.0.store(1, crate::sync::Ordering::Relaxed);",
                model: LEFT,
                says: "heard of too early",
            },
            Break {
                what: "the Acquire of who hears it",
                file: "portable/rendezvous.rs",
                function: "hear",
                find: "self.0.swap(0, Acquire)",
                replace: "self.0.swap(0, crate::sync::Ordering::Relaxed)",
                model: LEFT,
                says: "heard of too early",
            },
        ],
    },
    Pairing {
        what: "a claim, and its answer",
        sides: ["`DirectoryClaim::knock`, then `answer` by main: Release", "`DirectoryClaim::knocker`, then `answered` by the renderer: Acquire"],
        breaks: &[
            Break {
                what: "the knock's Release",
                file: "portable/rendezvous.rs",
                function: "knock",
                find: "self.word.store(claim_word(pid, KNOCKING), Release);",
                replace: "self.word.store(claim_word(pid, KNOCKING), crate::sync::Ordering::Relaxed);",
                model: CLAIMED,
                says: "heard of too early",
            },
            Break {
                what: "main's Acquire",
                file: "portable/rendezvous.rs",
                function: "knocker",
                find: "self.word.load(Acquire)",
                replace: "self.word.load(crate::sync::Ordering::Relaxed)",
                model: CLAIMED,
                says: "heard of too early",
            },
            Break {
                what: "the answer's Release",
                file: "portable/rendezvous.rs",
                function: "answer(",
                find: "self.word.store(claim_word(pid, ANSWERED), Release);",
                replace: "self.word.store(claim_word(pid, ANSWERED), crate::sync::Ordering::Relaxed);",
                model: CLAIMED,
                says: WRONG,
            },
            Break {
                what: "the renderer's Acquire",
                file: "portable/rendezvous.rs",
                function: "answered",
                find: "self.word.load(Acquire)",
                replace: "self.word.load(crate::sync::Ordering::Relaxed)",
                model: CLAIMED,
                says: WRONG,
            },
        ],
    },
    Pairing {
        what: "a ring of main's event, or a look at everything",
        sides: ["`Generation::advance`: Release, and a SeqCst fence before main looks", "`Generation::get`: SeqCst fence between the work and the look, and Acquire"],
        breaks: &[
            Break {
                what: "main's fence",
                file: "portable/rendezvous.rs",
                function: "advance",
                find: "fence_before_look();",
                replace: "",
                model: GENERATION,
                says: "a ring was lost",
            },
            Break {
                what: "the ringer's fence",
                file: "portable/rendezvous.rs",
                function: "get",
                find: "fence_before_look();",
                replace: "",
                model: GENERATION,
                says: "a ring was lost",
            },
            Break {
                what: "the Release: the next event is made",
                file: "portable/rendezvous.rs",
                function: "advance",
                find: "self.0.store(to, Release);",
                replace: "self.0.store(to, crate::sync::Ordering::Relaxed);",
                model: GENERATION,
                says: "an event that is made",
            },
            Break {
                what: "the Acquire",
                file: "portable/rendezvous.rs",
                function: "get",
                find: "self.0.load(Acquire)",
                replace: "self.0.load(crate::sync::Ordering::Relaxed)",
                model: GENERATION,
                says: "an event that is made",
            },
        ],
    },
];

/// What `Producer::commit` does, in its order.
const COMMITS: &str = "self.cells.head(end).guard();
        reach(KillPoint::FrameGuarded);
        self.cells.head(start).commit(header);
        reach(KillPoint::FrameCommitted);
        if reservation.pad != 0 {
            self.cells.head(reservation.position).commit(Header::pad(reservation.pad as usize));
            reach(KillPoint::PadCommitted);
        }";

pub(crate) const UNMODELLED: &[Unmodelled] = &[
    Unmodelled {
        file: "wire/words.rs",
        functions: &["read", "bump"],
        why: "The bell's value must be read before the epoch is announced: Acquire keeps a later store behind a \
              load. Loom runs the accesses of a thread in their order, so no model can fail without it; beyond \
              that the two fences suffice. That the bell is bumped, and looked at by who sleeps, has its breaks above.",
    },
    Unmodelled {
        file: "sync/fences.rs",
        functions: &["light_fence", "heavy_fence", "modelled_fence"],
        why: "In a model both are SeqCst fences, and each of their callers has its break above. That `membarrier` \
              makes a compiler fence into one is the kernel's promise; `biased::tests` run it on real processors.",
    },
    Unmodelled {
        file: "peer/replies.rs",
        functions: &["tell_of_next_send", "frames_committed"],
        why: "Whether the loop hears of a frame, for who tells of an unresponsive peer. As between sleepers and wakers: \
              the loop's wish, a fence, its last look for a frame; a sender's frame, a fence, its look for the \
              wish. No model has a whole port.",
    },
    Unmodelled {
        file: "portable/rendezvous.rs",
        functions: &["take", "give_back"],
        why: "Who has a claim next must not write its answer before the last one has read its own: a load that would see \
              a store of the future, which loom does not try.",
    },
    Unmodelled {
        file: "portable/event.rs",
        functions: &["rescue", "enter", "drop"],
        why: "Whether a thread goes into `raw_sync`'s code, or sees that the event is lost: its entry, a fence, its look; \
              the rescuer's word, a fence, its look for who is inside. As between sleepers and wakers. Who leaves \
              (Release) is out before the rescuer, who sees that (Acquire), lets the place be used again. What \
              the C library does in there no model has.",
    },
    Unmodelled {
        file: "os/confine.rs",
        functions: &["take", "wait_for", "respond"],
        why: "Whose turn it is to give up its rights: a hand-over between a thread and a signal's handler, by way of \
              the kernel, of which loom knows neither. `Turn::take` stores the turn (Release) behind the ruleset and \
              the outcome; `Turn::respond` loads it (Acquire) before either. `respond` stores the outcome (Release) \
              when it has given up; `Turn::wait_for` loads it (Acquire) before it believes that.",
    },
];

pub(crate) const UNORDERED: &[Unordered] = &[
    Unordered {
        file: "shm/bytes.rs",
        why: "Payloads, word by word: a frame's commit word and a topic's claim order them. What is long is copied in \
              assembly, which no model and no sanitizer sees; what goes past the caches ends with an `sfence`, so \
              that no later commit is seen before it.",
    },
    Unordered {
        file: "ring/unread_frames.rs",
        why: "What an attached frame carries: a look at the commit word in front of it comes first, and orders it.",
    },
    Unordered {
        file: "portable/segments.rs",
        why: "Which segments exist, for who looks after this process's death, which orders everything; and numbers \
              that are never the same twice.",
    },
    Unordered {
        file: "portable/named.rs",
        why: "That a segment has lost its name: its own drop comes after everything.",
    },
    Unordered { file: "metrics/counters.rs", why: "Counts, for people." },
    Unordered {
        file: "kill_points.rs",
        why: "Where a test wants this process to die (with the feature `kill-points`).",
    },
    Unordered {
        file: "fuzzing/rings.rs",
        why: "What the fuzzer has the peer write, all on one thread.",
    },
    Unordered {
        file: "sync/loop_cell.rs",
        why: "Names that are never the same twice. What is behind a key moves from thread to thread with the driver lock.",
    },
    Unordered {
        file: "peer/large/lender.rs",
        why: "A quota. Only the driver adds to it, under the lender's lock; what is taken off just now counts a \
              moment longer.",
    },
    Unordered {
        file: "peer/large/mod.rs",
        why: "Whether there is anything to tidy up. Raised after the lock under which there came to be, lowered \
              under that lock: so what comes after the look raises it after it was lowered. (As `TimedRequests`.)",
    },
    Unordered {
        file: "peer/port.rs",
        why: "How many requests are owed: only the driver adds any, and it sees its own, or those of the driver \
              before it by the driver lock. A request to close: the loop is interrupted for it. Whether the peer is \
              dead, and whether the handshake is over: the driver's own.",
    },
    Unordered {
        file: "peer/replies.rs",
        why: "The number of requests that are owed, stored under the list's lock: see `peer/port.rs`.",
    },
    Unordered {
        file: "peer/dispatch.rs",
        why: "The driver's look at how many requests are owed: see `peer/port.rs`.",
    },
    Unordered {
        file: "event_loop/renderer.rs",
        why: "A request to stop, and that topics have changed: the loop is interrupted for both. The changes \
              themselves are behind a lock.",
    },
    Unordered {
        file: "event_loop/main/shared.rs",
        why: "A request to stop: the loop is interrupted for it. That the endpoint is closed: who launches at the \
              same time is refused, or ended by the loop. Numbers of windows, never the same twice. A pid, for people. \
              That somebody listens for unresponsive peers: raised before the list of windows is locked and gone \
              through, read after a window was added under that lock. That something was sent to some: raised after \
              the lock under which they were noted, lowered before they are taken under it; then the loop is woken. \
              How many inspectors there are, for people.",
    },
    Unordered {
        file: "event_loop/main/mod.rs",
        why: "The loop's look at the request to stop: see `event_loop/main/shared.rs`.",
    },
    Unordered {
        file: "event_loop/main/inspectors.rs",
        why: "A pid, and how many inspectors there are: for people. What they read is a topic.",
    },
    Unordered { file: "event_loop/main/sessions.rs", why: "A pid, for people." },
    Unordered { file: "web_contents.rs", why: "A pid, for people." },
    Unordered {
        file: "os/socket.rs",
        why: "That an inherited socket is taken once: the exchange says who is first.",
    },
    Unordered {
        file: "os/process.rs",
        why: "The number of a socket, for a child: read by a copy of the thread that has stored it.",
    },
    Unordered { file: "os/modelled.rs", why: "The kernel's look at a futex, in models." },
];
