//! Who watches main, and what they see.
//!
//! ```text
//!   counters, rings ──▶ record ──▶ board (a topic in sealed memory) ──▶ inspectors, read-only
//!                 10 times a second, while anybody watches
//! ```
//!
//! # Why a copy now and then, and no counters in shared memory
//!
//! Counters that lie in the board would need no copying. But then each frame would count through one more pointer, into
//! a line that an inspector's processor has just taken; what is no counter (a ring's fill, a state) would need the
//! copy all the same; and an inspector would see numbers of different moments. So what happens for every frame stays
//! as it is, to the instruction, and the copy costs main some microseconds, ten times a second, for as long as
//! somebody watches. However many windows there are, and however full their rings, it is no more than a hundredth of
//! the loop's time: an expensive record is followed by a longer pause ([`SHARE`]).
//!
//! Nobody watches: there is no board, no timer, and nothing to do. That many look costs no more than that one does.
//!
//! # What an inspector can do to main
//!
//! Look. It gets one descriptor, of memory that the kernel lets nobody but main write or resize. Whatever it
//! says ends its visit; it holds one descriptor of main's, and there are [`INSPECTORS_MAX`] of them.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use zerocopy::IntoBytes;

use crate::event_loop::main::{Connection, MainLoop, Stage, TokenKind, token};
use crate::{
    event_loop::main::shared::MainShared,
    metrics::{MainMetrics, SessionMetrics, counters::Counters, sleeps},
    os::process,
    primitives::Ordering,
    ring::broadcast::TopicWriter,
    session::{
        control_channel::ControlChannel,
        inspection::{InspectorAnswer, fingerprint},
        transport::{PollSource, Poller},
    },
    shm::{
        backing::Backing,
        region::{Region, WriterSide},
    },
    trace,
    wire::{
        board::{self, BoardSlot, Head, SLOTS_MAX, WindowState},
        handshake::encode,
    },
};

/// How many may watch at once.
pub(super) const INSPECTORS_MAX: usize = 16;
/// Between two records, at the least.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The pause behind a record is so many times what the record took, if that is longer.
const SHARE: u32 = 100;

const _: () = assert!(MainMetrics::COUNT <= board::MAIN_METRICS_MAX);
const _: () = assert!(SessionMetrics::COUNT + Counters::COUNT <= board::WINDOW_METRICS_MAX);
const _: () = assert!(sleeps::BUCKETS == board::SLEEP_BUCKETS);

#[derive(Default)]
pub(super) struct Inspectors {
    /// Who watches; the place is in its token.
    inspectors: Vec<Option<Arc<ControlChannel>>>,
    /// There while anybody watches.
    board: Option<Board>,
    /// Not before then is there another record.
    next: Option<Instant>,
}

struct Board {
    region: Region,
    writer: TopicWriter,
    record: Vec<u8>,
}

impl Board {
    fn create(backing: &Backing, endpoint: &str) -> io::Result<Self> {
        let len = Region::ring_len(board::CAPACITY);
        let name = format!("ringbridge-board-{endpoint}");
        let region = Region::create(backing, &name, len, WriterSide::Creator)?;
        let memory = region.topic().expect("made with a ring's length");
        memory.control.initialise(board::CAPACITY);
        Ok(Self { region, writer: TopicWriter::new(memory, 0), record: Vec::new() })
    }

    /// Hands its memory over.
    fn show_to(&self, control: &ControlChannel) -> io::Result<()> {
        let answer = InspectorAnswer::Board { capacity: board::CAPACITY as u32 };
        control.try_send(&encode(&answer), &[self.region.handle()])
    }

    fn write(&mut self, head: &Head, slots: impl Iterator<Item = BoardSlot>) {
        self.record.clear();
        self.record.extend_from_slice(head.as_bytes());
        slots.for_each(|slot| self.record.extend_from_slice(slot.as_bytes()));
        // The fullest record fits: see `layout::board`.
        let written = self.writer.publish(&self.record);
        debug_assert!(written.is_ok());
    }
}

impl Inspectors {
    fn count(&self) -> usize {
        self.inspectors.iter().flatten().count()
    }

    /// Lets somebody watch.
    fn admit(
        &mut self,
        main: &MainShared,
        poller: &mut dyn Poller,
        control: &Arc<ControlChannel>,
    ) -> io::Result<()> {
        let board = match &mut self.board {
            Some(board) => board,
            none => none.insert(Board::create(&main.backing(), main.name())?),
        };
        board.show_to(control)?;
        let free = self.inspectors.iter().position(Option::is_none);
        let place = free.unwrap_or(self.inspectors.len());
        poller.add(PollSource::ControlChannel(control), token(place, TokenKind::Inspector))?;
        if place == self.inspectors.len() {
            self.inspectors.push(None);
        }
        self.inspectors[place] = Some(control.clone());
        Ok(())
    }

    /// The board goes with the last who watched. The pause stays: who comes and goes again and again gets no more
    /// records than who stays.
    fn close_if_empty(&mut self) {
        if self.count() == 0 {
            self.inspectors.clear();
            self.board = None;
        }
    }
}

impl MainLoop {
    /// A connection turned out to be an inspector's: lets it in, or says why not.
    pub(super) fn let_watch(
        &mut self,
        main: &MainShared,
        place: usize,
        hello: Result<(), InspectorAnswer>,
    ) {
        self.stop_listening(place);
        let Some(connection) = self.connections[place].take() else { return };
        // What is no renderer has no place among them.
        self.candidates -= 1;
        let refused = |why: &str| InspectorAnswer::Refused { why: why.to_owned() };
        let user = connection.control.peer_credentials().map(|peer| peer.uid);
        let admitted = match hello {
            Err(answer) => Err(answer),
            Ok(()) if !user.is_ok_and(|user| user == process::user_id()) => {
                Err(refused("it belongs to another user"))
            }
            Ok(()) if self.inspectors.count() >= INSPECTORS_MAX => {
                Err(refused(&format!("{INSPECTORS_MAX} inspectors are watching already")))
            }
            Ok(()) => self
                .inspectors
                .admit(main, &mut *self.poller, &connection.control)
                .map_err(|error| refused(&error.to_string())),
        };
        if let Err(answer) = admitted {
            let why = match &answer {
                InspectorAnswer::Refused { why } => why,
                _ => "it inspects in another version",
            };
            main.refuse(&connection.control, why);
            // Who does not read its refusal misses it.
            let _ = connection.control.try_send(&encode(&answer), &[]);
        }
        self.note_inspectors(main);
    }

    /// An inspector has gone, or says something, which none of ours does.
    pub(super) fn hear_inspector(&mut self, main: &MainShared, place: usize) {
        let Some(inspector) = self.inspectors.inspectors.get_mut(place) else { return };
        let Some(control) = inspector.take() else { return };
        let _ = self
            .poller
            .remove(PollSource::ControlChannel(&control), token(place, TokenKind::Inspector));
        let went = match control.try_receive(&mut self.packet, 0) {
            Ok(received) => received.len == 0,
            // It has not even read what main answered.
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        };
        if !went {
            main.refuse(&control, "an inspector has nothing to say");
        }
        self.note_inspectors(main);
    }

    pub(super) fn close_inspectors(&mut self, main: &MainShared) {
        self.inspectors.inspectors.clear();
        self.note_inspectors(main);
    }

    fn note_inspectors(&mut self, main: &MainShared) {
        self.inspectors.close_if_empty();
        let count = self.inspectors.count() as u32;
        // Relaxed: a process id and a number of inspectors, for display.
        if main.inspectors.swap(count, Ordering::Relaxed) != count {
            trace::inspectors(count);
        }
    }

    /// Shows those who watch how things are, if it is time to, and says when it is again.
    pub(super) fn show(&mut self, main: &MainShared, now: Instant) -> Option<Instant> {
        let board = self.inspectors.board.as_mut()?;
        if let Some(next) = self.inspectors.next.filter(|next| *next > now) {
            return Some(next);
        }
        let count = self.connections.iter().flatten().filter_map(Connection::port).count();
        let mut head = main.picture();
        head.slots = count.min(SLOTS_MAX) as u32;
        head.unshown = count.saturating_sub(SLOTS_MAX) as u32;
        head.fingerprint = fingerprint();
        let windows = self.connections.iter_mut().flatten().filter_map(Connection::picture);
        board.write(&head, windows.take(SLOTS_MAX));
        let pause = (now.elapsed() * SHARE).max(LOOK_EVERY);
        self.inspectors.next = now.checked_add(pause);
        self.inspectors.next
    }
}

impl MainShared {
    /// What a record says of the endpoint as a whole.
    fn picture(&self) -> Head {
        let mut head = Head::new();
        head.open_ns = since(self.opened);
        head.pid = std::process::id();
        head.name_len = board::put_text(&mut head.name, self.name());
        head.metrics[..MainMetrics::COUNT].copy_from_slice(&self.metrics().values());
        head.sleeps = self.sleeps.read().buckets;
        head
    }
}

impl Connection {
    /// What a record says of a window.
    fn picture(&mut self) -> Option<BoardSlot> {
        let state = match self.stage {
            Stage::Hello => WindowState::Launching,
            Stage::Ready => WindowState::Joining,
            Stage::Ending => WindowState::Ending,
            Stage::Live if self.rings.are_ignored() => WindowState::Storming,
            Stage::Live if self.held_until.is_some() => WindowState::Held,
            Stage::Live => WindowState::Live,
        };
        let session = self.session.as_mut()?;
        let port = &session.port;
        let mut slot = BoardSlot::new();
        slot.id = port.window;
        slot.pid = port.peer_pid.load(Ordering::Relaxed);
        slot.state = state.to_wire();
        slot.open_ns = since(session.opened);
        slot.policy_len = board::put_text(&mut slot.policy, &session.summary);
        let (metrics, counters) = slot.metrics.split_at_mut(SessionMetrics::COUNT);
        metrics.copy_from_slice(&port.metrics().values());
        counters[..Counters::COUNT].copy_from_slice(&port.counters.read().values());
        slot.unread = u32::from(session.has_news());
        Some(slot)
    }
}

fn since(moment: Instant) -> u64 {
    u64::try_from(moment.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
