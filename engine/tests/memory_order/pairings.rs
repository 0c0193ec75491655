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

/// Something whose memory order no model needs, or none can see.
pub(crate) struct Exempt {
    pub(crate) file: &'static str,
    /// Of functions that order memory, every one; for Relaxed accesses, whatever is told apart best.
    pub(crate) functions: &'static [&'static str],
    pub(crate) why: &'static str,
}

/// Everybody waits, and nobody is left to end that.
const DEADLOCK: &str = "deadlock";
/// Two threads touch plain data, and neither happens before the other.
const RACE: &str = "Causality violation";
/// An `assert` of the model.
const WRONG: &str = "assertion";

const FRAMES: &str = "ring::tests::loom::loom_two_frames_across_a_pad_arrive_whole_and_in_order";
const LAPS: &str = "ring::tests::loom::loom_what_an_earlier_lap_left_is_never_taken_for_a_frame";
const ROOM: &str = "ring::tests::loom::loom_room_is_used_again_only_after_it_was_read";
const SLEEPER: &str = "ring::tests::loom::loom_a_sleeper_never_misses_a_frame";
const ROOM_SLEEPER: &str = "ring::tests::loom::loom_a_sleeper_never_misses_room";
const TOPIC: &str = "topic::tests::loom::loom_a_copy_is_whole_or_counted_as_lost";
const LATEST: &str = "topic::tests::loom::loom_the_latest_is_later_than_the_last_one";
const JOINING: &str = "topic::tests::loom::loom_a_reader_that_joins_counts_from_where_it_joined";
const PLACE: &str =
    "layout::words::loom_tests::loom_a_place_is_written_again_only_after_it_was_read";
const SEAT: &str = "seat::loom_tests::loom_nobody_sleeps_beside_a_free_seat";
const FAVOUR: &str =
    "biased::loom_tests::loom_one_thread_at_a_time_is_inside_while_the_favour_is_withdrawn";
const STRANGERS: &str = "biased::loom_tests::loom_two_strangers_may_both_want_to_be_the_favourite";
const HINT: &str = "timed::loom_tests::loom_a_request_is_found_or_leaves_a_hint";
const CALLER: &str = "request::loom_tests::loom_a_caller_never_sleeps_beside_its_reply";
const SETTLED: &str =
    "request::loom_tests::loom_a_request_is_settled_once_and_its_successor_by_neither";

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
                file: "layout/words.rs",
                function: "publish",
                find: "self.0.store(position, Release)",
                replace: "self.0.store(position, Relaxed)",
                model: TOPIC,
                says: WRONG,
            },
            Break {
                what: "the Acquire of a topic's position",
                file: "layout/words.rs",
                function: "observe",
                find: "self.0.load(Acquire)",
                replace: "self.0.load(Relaxed)",
                model: TOPIC,
                says: WRONG,
            },
            Break {
                what: "the Release of what a consumer has read",
                file: "layout/words.rs",
                function: "publish",
                find: "self.0.store(position, Release)",
                replace: "self.0.store(position, Relaxed)",
                model: PLACE,
                says: RACE,
            },
            Break {
                what: "the Acquire of what a consumer has read",
                file: "layout/words.rs",
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
                file: "layout/words.rs",
                function: "stake",
                find: "fence(Release);",
                replace: "",
                model: TOPIC,
                says: WRONG,
            },
            Break {
                what: "the reader's fence",
                file: "layout/words.rs",
                function: "staked",
                find: "fence(Acquire);",
                replace: "",
                model: TOPIC,
                says: WRONG,
            },
            Break {
                what: "the look at the claim",
                file: "topic.rs",
                function: "read",
                find: "self.control.claim.staked().wrapping_sub(from)",
                replace: "0",
                model: TOPIC,
                says: WRONG,
            },
            Break {
                what: "one look for the newest message, and not two",
                file: "topic.rs",
                function: "receive",
                find: "newest == self.last",
                replace: "!self.has_news()",
                model: LATEST,
                says: WRONG,
            },
            Break {
                what: "a joining reader's place and count from one record",
                file: "topic.rs",
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
                file: "layout/words.rs",
                function: "announce",
                find: "fence(SeqCst);",
                replace: "",
                model: SLEEPER,
                says: DEADLOCK,
            },
            Break {
                what: "the sleeper's fence, with room",
                file: "layout/words.rs",
                function: "announce",
                find: "fence(SeqCst);",
                replace: "",
                model: ROOM_SLEEPER,
                says: DEADLOCK,
            },
            Break {
                what: "the waker's fence, with a frame",
                file: "layout/words.rs",
                function: "fence_before_look",
                find: "fence(SeqCst);",
                replace: "",
                model: SLEEPER,
                says: DEADLOCK,
            },
            Break {
                what: "the waker's fence, with room",
                file: "layout/words.rs",
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
        sides: ["`Driving::drop`: Release", "`Seat::try_take`: Acquire"],
        breaks: &[
            Break {
                what: "the Release of who leaves",
                file: "seat.rs",
                function: "drop",
                find: "self.seat.state.swap(FREE, AcqRel)",
                replace: "self.seat.state.swap(FREE, Acquire)",
                model: SEAT,
                says: RACE,
            },
            Break {
                what: "the Acquire of who takes it",
                file: "seat.rs",
                function: "try_take",
                find: "self.state.compare_exchange(FREE, TAKEN, Acquire, Relaxed)",
                replace: "self.state.compare_exchange(FREE, TAKEN, Relaxed, Relaxed)",
                model: SEAT,
                says: RACE,
            },
            Break {
                what: "that a free seat cannot be wanted",
                file: "seat.rs",
                function: "take_or_queue",
                find: "self.state.compare_exchange(TAKEN, WANTED, Release, Relaxed)",
                replace: "{ self.state.store(WANTED, Release); Ok::<u32, u32>(TAKEN) }",
                model: SEAT,
                says: DEADLOCK,
            },
        ],
    },
    Pairing {
        what: "one thread inside a biased lock",
        sides: [
            "`Biased::enter`, `leave`: light fence between the own mark and the look at the favour",
            "`Biased::withdraw`: heavy fence between the end of the favour and the look at the mark",
        ],
        breaks: &[
            Break {
                what: "the favourite's fence on its way in",
                file: "biased.rs",
                function: "enter",
                find: "light_fence();",
                replace: "",
                model: FAVOUR,
                says: RACE,
            },
            Break {
                what: "the favourite's fence on its way out",
                file: "biased.rs",
                function: "leave",
                find: "light_fence();",
                replace: "",
                model: FAVOUR,
                says: DEADLOCK,
            },
            Break {
                what: "the heavy fence",
                file: "biased.rs",
                function: "withdraw",
                find: "heavy_fence();",
                replace: "",
                model: FAVOUR,
                says: RACE,
            },
            Break {
                what: "that a stranger withdraws the favour",
                file: "biased.rs",
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
        sides: ["`Biased::leave`: Release", "`Biased::withdraw`: Acquire"],
        breaks: &[
            Break {
                what: "the Release",
                file: "biased.rs",
                function: "leave",
                find: "self.favourite_inside.store(false, Release)",
                replace: "self.favourite_inside.store(false, Relaxed)",
                model: FAVOUR,
                says: RACE,
            },
            Break {
                what: "the Acquire",
                file: "biased.rs",
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
            file: "timed.rs",
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
                file: "request.rs",
                function: "notify",
                find: "Ok(false)",
                replace: "Ok(true)",
                model: CALLER,
                says: DEADLOCK,
            },
            Break {
                what: "the generation",
                file: "request.rs",
                function: "slot",
                find: "slot.generation == id.generation()",
                replace: "true",
                model: SETTLED,
                says: WRONG,
            },
        ],
    },
];

/// What `Producer::commit` does, in its order.
const COMMITS: &str = "self.cells.head(end).guard();
        self.cells.head(start).commit(header);
        if reservation.pad != 0 {
            self.cells.head(reservation.position).commit(Header::pad(reservation.pad as usize));
        }";
