//! A renderer's end: the memory that main hands over, in both directions.
//!
//! - **Who reads the control channel.** The watching thread, and any thread that needs what has come.
//!   So a listener that sends a large message never waits for another thread of this process. Main
//!   sends memory before the frame that names it.
//! - **Lent memory belongs to no thread.** A thread registers the size that it needs, and takes what
//!   comes. Memory that came too late serves the next call of its size, or is given back.
//! - **Asking ahead.** After two messages of one size a third is likely. Main is asked for its memory
//!   when the second is taken, and answers while that is filled. At most one is asked for ahead.
//! - **The quota.** The renderer keeps account as main does. So it waits until main has read
//!   something, as for room in a ring, and is not refused.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    body::Body,
    limits::{AttachmentLimits, OpenError},
    pool::has_passed,
};
use crate::{
    primitives::{Condvar, Mutex, spin_loop},
    session::control_channel::ControlChannel,
    shm::{
        attachment::{Blank, PAGE, Readable},
        handle::MemoryHandle,
    },
    wire::{
        frame::Violation,
        handshake::Answer,
        parcel::{NotLent, PARCEL_MAX, Parcel},
    },
};

/// How long a thread spins for main's answer before it sleeps: main is usually quick.
const SPIN: Duration = Duration::from_micros(100);

/// Memory of main's that this renderer may fill.
#[derive(Debug)]
pub(in crate::peer) struct Grant {
    pub(super) id: u64,
    pub(super) blank: Blank,
}

/// The next action of a thread that needs memory.
#[derive(Debug)]
pub(super) enum BorrowStep {
    Take(Grant),
    /// Ask main; if that cannot be sent, call [`Borrower::not_asked`].
    Ask,
    /// Give this back to main; if that cannot be sent, call [`Borrower::keep_return`].
    GiveBack(u64),
    /// Main's answer is on its way.
    Wait,
    /// Main must read something first.
    Full,
    Refused(NotLent),
    /// Main has hung up.
    Ended,
}

/// A renderer's end of one session's attachments.
pub(crate) struct Borrower {
    control: Arc<ControlChannel>,
    pub(super) limits: AttachmentLimits,
    state: Mutex<BorrowerState>,
    came: Condvar,
}

#[derive(Default)]
struct BorrowerState {
    packet: Box<[u8]>,
    /// Main's buffers, or why they could not be mapped.
    mapped: HashMap<u64, Result<Arc<Readable>, String>>,
    /// Requests that main has not answered, in their order.
    asked: Vec<Asked>,
    /// The sizes that threads wait for.
    wanted: Vec<usize>,
    /// The size that was taken last.
    taken: usize,
    lent: Vec<Grant>,
    refused: Vec<(usize, NotLent)>,
    /// To be given back when there is room.
    returns: Vec<u64>,
    /// Named by frames that end at these positions, with their sizes.
    in_flight: VecDeque<(u64, usize)>,
    /// Asked for, lent, being filled or in flight.
    used: usize,
    used_bytes: u64,
    ended: bool,
}

/// A request that main has not answered.
#[derive(Clone, Copy)]
struct Asked {
    size: usize,
    /// No thread needed it at that time, so a refusal concerns none.
    ahead: bool,
}

/// The need of a thread for memory of one size, until it is dropped.
pub(super) struct Wanting<'a> {
    borrower: &'a Borrower,
    size: usize,
}

impl Borrower {
    /// `early` are parcels that came before the session began.
    pub(crate) fn new(
        control: Arc<ControlChannel>,
        limits: AttachmentLimits,
        early: Vec<(Parcel, Vec<MemoryHandle>)>,
    ) -> Self {
        let packet = vec![0; PARCEL_MAX].into();
        let mut state = BorrowerState { packet, ..BorrowerState::default() };
        for (parcel, handles) in early {
            state.receive(parcel, handles);
        }
        Self { control, limits, state: Mutex::new(state), came: Condvar::default() }
    }

    /// Receives parcels until main hangs up. For the watching thread.
    pub(crate) fn watch(&self) {
        while let Ok(found) = self.control.poll_readable(None) {
            if found.readable {
                if self.receive_parcels(&mut self.state.lock()) {
                    return;
                }
            } else if found.hangup {
                return;
            }
        }
    }

    /// Receives what has come. Returns whether main has hung up.
    fn receive_parcels(&self, state: &mut BorrowerState) -> bool {
        let mut came = false;
        while !state.ended {
            let (len, handles) = match self.control.try_receive(&mut state.packet, 1) {
                Ok(received) => (received.len, received.handles),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => (0, Vec::new()),
            };
            match Answer::parse(&state.packet[..len]) {
                Ok(Answer::Parcel(parcel)) => state.receive(parcel, handles),
                // Main has hung up, or the session cannot go on without a parcel that failed.
                _ => state.ended = true,
            }
            came = true;
        }
        if came {
            self.came.notify_all();
        }
        if state.ended {
            // Wakes the watching thread, if another thread has found the end.
            let _ = self.control.shutdown();
        }
        state.ended
    }

    /// Opens the first `len` bytes of a buffer of main's, which a frame has named.
    pub(super) fn open(&self, id: u64, len: u64) -> Result<Body, OpenError> {
        let mut state = self.state.lock();
        if !state.mapped.contains_key(&id) {
            // It was sent before the frame.
            self.receive_parcels(&mut state);
        }
        match state.mapped.get(&id) {
            None => Err(OpenError::Violation(Violation::UnknownAttachment { id })),
            Some(Err(why)) => Err(OpenError::System(why.clone())),
            Some(Ok(memory)) if len > memory.len() as u64 => {
                let size = memory.len() as u64;
                Err(OpenError::Violation(Violation::AttachmentLength { id, len, size }))
            }
            Some(Ok(memory)) => Ok(Body::OfMain { memory: memory.clone(), len: len as usize }),
        }
    }

    /// Registers that this thread needs memory for `len` bytes.
    pub(super) fn want(&self, len: usize) -> Wanting<'_> {
        let size = len.next_multiple_of(PAGE);
        self.state.lock().wanted.push(size);
        Wanting { borrower: self, size }
    }

    /// Returns whether to ask main for more memory of this size, which was just taken. If that cannot
    /// be sent, call [`not_asked`](Self::not_asked).
    pub(super) fn asks_ahead(&self, size: usize, consumed: u64) -> bool {
        let state = &mut *self.state.lock();
        let is_one_of_many = std::mem::replace(&mut state.taken, size) == size;
        let has_one = state.lent.iter().any(|grant| grant.blank.size() == size)
            || state.asked.iter().any(|asked| asked.size == size);
        let asked = Asked { size, ahead: true };
        is_one_of_many && !has_one && state.ask(asked, consumed, self.limits)
    }

    /// Takes back a request for memory that was not sent.
    pub(super) fn not_asked(&self, size: usize) {
        let mut state = self.state.lock();
        if let Some(place) = state.asked.iter().rposition(|asked| asked.size == size) {
            state.asked.remove(place);
        }
        state.release(size);
    }

    /// Notes that a frame that ends at `until` has named memory of this size.
    pub(super) fn named(&self, size: usize, until: u64) {
        self.state.lock().in_flight.push_back((until, size));
    }

    /// Notes memory that no frame will name; it is to be given back before any other is asked for.
    pub(super) fn not_needed(&self, id: u64, size: usize) {
        let mut state = self.state.lock();
        state.release(size);
        state.returns.push(id);
    }

    /// Takes out memory to be given back. If that cannot be sent, call
    /// [`keep_return`](Self::keep_return).
    pub(super) fn next_return(&self) -> Option<u64> {
        self.state.lock().returns.pop()
    }

    pub(super) fn keep_return(&self, id: u64) {
        self.state.lock().returns.push(id);
    }

    /// Frees everything: the session is over.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        state.mapped.clear();
        state.lent.clear();
        drop(state);
        self.came.notify_all();
    }
}

impl Wanting<'_> {
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Returns the next action. Main has read up to `consumed`.
    pub(super) fn step(&self, consumed: u64) -> BorrowStep {
        let Self { borrower, size } = *self;
        let state = &mut *borrower.state.lock();
        borrower.receive_parcels(state);
        if state.ended {
            return BorrowStep::Ended;
        }
        if let Some(place) = state.lent.iter().position(|grant| grant.blank.size() == size) {
            return BorrowStep::Take(state.lent.swap_remove(place));
        }
        // Memory that lies idle here may fill the quota.
        if let Some(place) = state.refused.iter().position(|(refused, _)| *refused == size) {
            let why = state.refused.swap_remove(place).1;
            return state.give_idle_back().map_or(BorrowStep::Refused(why), BorrowStep::GiveBack);
        }
        if let Some(id) = state.returns.pop() {
            return BorrowStep::GiveBack(id);
        }
        if !state.lacks_request(size) {
            return BorrowStep::Wait;
        }
        if state.ask(Asked { size, ahead: false }, consumed, borrower.limits) {
            return BorrowStep::Ask;
        }
        state.give_idle_back().map_or(BorrowStep::Full, BorrowStep::GiveBack)
    }

    /// Waits for main's answer. Returns whether the deadline has passed before it came.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> bool {
        let borrower = self.borrower;
        let began = Instant::now();
        loop {
            let mut state = borrower.state.lock();
            borrower.receive_parcels(&mut state);
            if state.has_answer(self.size) {
                return false;
            }
            let now = Instant::now();
            if now.duration_since(began) < SPIN {
                drop(state);
                spin_loop();
                continue;
            }
            match deadline.map(|deadline| deadline.saturating_duration_since(now)) {
                Some(Duration::ZERO) => return true,
                Some(left) => drop(borrower.came.wait_timeout(state, left)),
                None => drop(borrower.came.wait(state)),
            }
        }
    }
}

impl Drop for Wanting<'_> {
    fn drop(&mut self) {
        let mut state = self.borrower.state.lock();
        if let Some(place) = state.wanted.iter().position(|size| *size == self.size) {
            state.wanted.swap_remove(place);
        }
        if !state.wanted.contains(&self.size) {
            // A refusal that came too late does not concern the next thread that asks.
            state.refused.retain(|(size, _)| *size != self.size);
        }
    }
}

impl BorrowerState {
    fn receive(&mut self, parcel: Parcel, handles: Vec<MemoryHandle>) {
        let handle = handles.into_iter().next();
        match (parcel, handle) {
            (Parcel::Lent { id, size }, Some(handle)) => {
                let size = size as usize;
                self.answered(size);
                match Blank::open(handle, size) {
                    Ok(blank) => self.lent.push(Grant { id, blank }),
                    Err(error) => {
                        self.returns.push(id);
                        self.release(size);
                        let why = NotLent::NoMemory { why: error.to_string() };
                        self.refused.push((size, why));
                    }
                }
            }
            (Parcel::Refused { size, why }, None) => {
                let size = size as usize;
                let ahead = self.answered(size);
                self.release(size);
                // Only for a thread that waits for it. A call that does not wait asks again, and so does
                // one that came after main was asked ahead.
                if !ahead && self.wanted.contains(&size) {
                    self.refused.push((size, why));
                }
            }
            (Parcel::Pooled { id, size }, Some(handle)) => {
                let memory = Readable::of_main(&handle, size as usize);
                self.mapped.insert(id, memory.map(Arc::new).map_err(|error| error.to_string()));
            }
            (Parcel::Forget { ids }, None) => ids.iter().for_each(|id| {
                self.mapped.remove(id);
            }),
            // Main is trusted, but a session that cannot be understood is over.
            _ => self.ended = true,
        }
    }

    /// Notes a request, if it fits into the quota.
    fn ask(&mut self, asked: Asked, consumed: u64, limits: AttachmentLimits) -> bool {
        while let Some((_, size)) =
            self.in_flight.pop_front_if(|(until, _)| has_passed(consumed, *until))
        {
            self.release(size);
        }
        let fits = self.used < usize::from(limits.lent_max)
            && self.used_bytes + asked.size as u64 <= limits.lent_bytes_max;
        if fits {
            self.asked.push(asked);
            self.used += 1;
            self.used_bytes += asked.size as u64;
        }
        fits
    }

    /// Takes out memory that was lent and that no thread needs.
    fn give_idle_back(&mut self) -> Option<u64> {
        let idle = |grant: &Grant| !self.wanted.contains(&grant.blank.size());
        let grant = self.lent.swap_remove(self.lent.iter().position(idle)?);
        self.release(grant.blank.size());
        Some(grant.id)
    }

    fn has_answer(&self, size: usize) -> bool {
        self.ended
            || self.lent.iter().any(|grant| grant.blank.size() == size)
            || self.refused.iter().any(|(refused, _)| *refused == size)
            || self.lacks_request(size)
    }

    /// Returns whether more threads need memory of this size than main was asked for.
    fn lacks_request(&self, size: usize) -> bool {
        let asked = self.asked.iter().filter(|asked| asked.size == size).count();
        asked < self.wanted.iter().filter(|wanted| **wanted == size).count()
    }

    /// Takes off the oldest request of this size. Returns whether it was asked ahead.
    fn answered(&mut self, size: usize) -> bool {
        let place = self.asked.iter().position(|asked| asked.size == size);
        place.is_some_and(|place| self.asked.remove(place).ahead)
    }

    fn release(&mut self, size: usize) {
        self.used = self.used.saturating_sub(1);
        self.used_bytes = self.used_bytes.saturating_sub(size as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        metrics::counters::SessionCounters,
        os::Socket,
        peer::large::main_attachments::{Content, MainAttachments},
        shm::backing::Backing,
        wire::handshake::encode,
    };

    const SIZE: usize = 32 * PAGE;
    const LIMITS: AttachmentLimits =
        AttachmentLimits { message_max: 1 << 30, lent_bytes_max: 2 * SIZE as u64, lent_max: 2 };

    /// Both ends of one session, and what main counts.
    fn session() -> (MainAttachments, Borrower, SessionCounters) {
        session_of(2)
    }

    /// The same, with room for so many attachments of [`SIZE`].
    fn session_of(lent_max: u16) -> (MainAttachments, Borrower, SessionCounters) {
        let lent_bytes_max = u64::from(lent_max) * SIZE as u64;
        let limits = AttachmentLimits { lent_bytes_max, lent_max, ..LIMITS };
        let (ours, theirs) = Socket::pair().unwrap();
        let main =
            MainAttachments::new(Arc::new(ours.into()), Backing::sealed(), limits, 1 << 20, || ());
        let borrower = Borrower::new(Arc::new(theirs.into()), limits, Vec::new());
        (main, borrower, SessionCounters::default())
    }

    /// Goes through the steps as a sender does, with main at hand. `None`: main has to read first.
    fn borrow(
        session: &(MainAttachments, Borrower, SessionCounters),
        consumed: u64,
    ) -> Option<Grant> {
        let (main, borrower, counters) = session;
        let wanting = borrower.want(SIZE);
        loop {
            match wanting.step(consumed) {
                BorrowStep::Take(grant) => return Some(grant),
                BorrowStep::Ask => main.lend(wanting.size() as u64, counters).unwrap(),
                BorrowStep::GiveBack(id) => main.take_back(id).unwrap(),
                BorrowStep::Wait => assert!(!wanting.wait(Some(Instant::now() + SPIN * 1000))),
                BorrowStep::Full => return None,
                other => panic!("{other:?}"),
            }
        }
    }

    /// Fills and seals it. Returns its number.
    fn fill(grant: Grant, byte: u8) -> u64 {
        grant.blank.fill(&[byte; SIZE]).unwrap();
        grant.blank.seal().unwrap();
        grant.id
    }

    #[test]
    fn a_renderer_fills_what_main_lends_and_main_reads_it() {
        let session = session();
        let filled = fill(borrow(&session, 0).unwrap(), 7);
        let incoming = session.0.open(filled, SIZE as u64).unwrap();
        assert_eq!(*incoming, [7; SIZE]);
    }

    #[test]
    fn a_renderer_waits_for_its_quota_and_has_it_again_when_main_has_read() {
        let session = session();
        for until in [100, 200] {
            fill(borrow(&session, 0).unwrap(), 7);
            session.1.named(SIZE, until);
        }
        assert!(borrow(&session, 99).is_none());
        drop(session.0.open(1, 1).unwrap());
        assert!(borrow(&session, 100).is_some());
        assert_eq!(session.2.attachments_refused.get(), 0, "main need not refuse it");
    }

    #[test]
    fn what_was_asked_for_and_not_waited_for_serves_the_next_and_makes_way_for_another_size() {
        let session = session();
        let (main, borrower, counters) = &session;
        assert!(matches!(borrower.want(SIZE).step(0), BorrowStep::Ask));
        assert!(matches!(borrower.want(SIZE).step(0), BorrowStep::Wait), "it is asked for already");
        main.lend(SIZE as u64, counters).unwrap();
        assert!(borrow(&session, 0).is_some());
        assert_eq!(counters.attachment_buffers.get(), 1);
        // The first is still in use, another lies idle: it makes way for one of another size.
        let wanting = borrower.want(SIZE);
        assert!(matches!(wanting.step(0), BorrowStep::Ask));
        main.lend(SIZE as u64, counters).unwrap();
        drop(wanting);
        let smaller = borrower.want(PAGE);
        assert!(matches!(smaller.step(0), BorrowStep::GiveBack(2)));
        main.take_back(2).unwrap();
        assert!(matches!(smaller.step(0), BorrowStep::Ask));
    }

    /// Fills the next and asks ahead, as a sender does; says whether main was asked.
    fn fill_next(session: &(MainAttachments, Borrower, SessionCounters), until: u64) -> bool {
        let (main, borrower, counters) = session;
        let grant = borrow(session, 0).unwrap();
        let asks = borrower.asks_ahead(SIZE, 0);
        if asks {
            main.lend(SIZE as u64, counters).unwrap();
        }
        fill(grant, 7);
        borrower.named(SIZE, until);
        asks
    }

    #[test]
    fn the_next_of_a_size_is_asked_for_when_the_second_is_taken_and_only_one_ahead() {
        let session = session_of(4);
        let (_, borrower, counters) = &session;
        assert!(!fill_next(&session, 100), "one is no stream");
        assert!(fill_next(&session, 200));
        assert!(!borrower.asks_ahead(SIZE, 0), "it is on its way");
        borrower.receive_parcels(&mut borrower.state.lock());
        assert!(!borrower.asks_ahead(SIZE, 0), "it is here");
        let wanting = borrower.want(SIZE);
        assert!(matches!(wanting.step(0), BorrowStep::Take(_)), "at once");
        assert_eq!(counters.attachment_buffers.get(), 3);
        assert!(!borrower.asks_ahead(PAGE, 0), "of another size");
    }

    #[test]
    fn nothing_is_asked_ahead_beyond_the_quota() {
        let session = session_of(2);
        assert!(!fill_next(&session, 100));
        assert!(!fill_next(&session, 200), "so many are lent");
        assert!(session.1.asks_ahead(SIZE, 100), "the first was read");
        assert_eq!(session.2.attachments_refused.get(), 0);
    }

    #[test]
    fn what_was_asked_ahead_makes_way_for_another_size_even_if_main_keeps_the_rest() {
        let session = session_of(3);
        let (main, borrower, counters) = &session;
        for until in [1, 2] {
            fill_next(&session, until);
        }
        let _held = [1, 2].map(|id| main.open(id, 1).unwrap());
        // The renderer believes that both were read; the third is here.
        let smaller = borrower.want(PAGE);
        assert!(matches!(smaller.step(2), BorrowStep::Ask));
        main.lend(PAGE as u64, counters).unwrap();
        assert_eq!(counters.attachments_refused.get(), 1);
        assert!(matches!(smaller.step(2), BorrowStep::GiveBack(3)));
        main.take_back(3).unwrap();
        assert!(matches!(smaller.step(2), BorrowStep::Ask));
        main.lend(PAGE as u64, counters).unwrap();
        assert!(matches!(smaller.step(2), BorrowStep::Take(_)));
    }

    #[test]
    fn what_is_refused_ahead_is_asked_for_again_by_who_needs_it() {
        let session = session();
        let (main, borrower, counters) = &session;
        fill(borrow(&session, 0).unwrap(), 7);
        assert!(!borrower.asks_ahead(SIZE, 0));
        borrower.named(SIZE, 1);
        let held = main.open(1, 1).unwrap();
        let _second = borrow(&session, 1).unwrap();
        // Main has both, and the renderer believes that it has one.
        assert!(borrower.asks_ahead(SIZE, 1));
        let wanting = borrower.want(SIZE);
        assert!(matches!(wanting.step(1), BorrowStep::Wait));
        main.lend(SIZE as u64, counters).unwrap();
        assert_eq!(counters.attachments_refused.get(), 1);
        drop(held);
        assert!(matches!(wanting.step(1), BorrowStep::Ask), "the refusal was nobody's");
        main.lend(SIZE as u64, counters).unwrap();
        assert!(matches!(wanting.step(1), BorrowStep::Take(_)));
    }

    #[test]
    fn a_refusal_reaches_who_waits_and_nobody_else() {
        let session = session();
        let (main, borrower, counters) = &session;
        // Main holds what the renderer believes to be read.
        for until in [1, 2] {
            fill(borrow(&session, 0).unwrap(), 7);
            borrower.named(SIZE, until);
        }
        let held = [1, 2].map(|id| main.open(id, 1).unwrap());
        let wanting = borrower.want(SIZE);
        assert!(matches!(wanting.step(2), BorrowStep::Ask));
        main.lend(SIZE as u64, counters).unwrap();
        let quota = NotLent::Quota { bytes: LIMITS.lent_bytes_max, count: 2 };
        assert!(matches!(wanting.step(2), BorrowStep::Refused(why) if why == quota));
        assert!(matches!(wanting.step(2), BorrowStep::Ask), "another try is another request");
        main.lend(SIZE as u64, counters).unwrap();
        drop(wanting);
        borrower.receive_parcels(&mut borrower.state.lock());
        drop(held);
        assert!(borrow(&session, 2).is_some(), "a refusal that came too late is forgotten");
    }

    #[test]
    fn mains_buffers_are_mapped_when_a_frame_names_them_until_they_are_forgotten() {
        let (main, borrower, counters) = session();
        let mut buffer = main.fill(Content::Bytes(&[7; SIZE]), 0, &counters).unwrap().unwrap();
        let id = buffer.id;
        assert!(matches!(borrower.open(id, 1), Err(OpenError::Violation(_))), "not sent yet");
        assert!(main.announce(&mut buffer));
        assert!(!main.named(buffer, 64));
        assert_eq!(*borrower.open(id, SIZE as u64).unwrap(), [7; SIZE]);
        assert!(borrower.open(id, 1 << 20).is_err(), "longer than it is");
        // Read: it is used again, for the same mapping.
        let buffer = main.fill(Content::Bytes(&[8; SIZE]), 64, &counters).unwrap().unwrap();
        assert_eq!((buffer.id, counters.attachment_buffers.get()), (id, 1));
        main.named(buffer, 128);
        assert_eq!(*borrower.open(id, SIZE as u64).unwrap(), [8; SIZE]);
        // Two larger ones fill the pool, which forgets it.
        for until in [192, 256] {
            let mut larger =
                main.fill(Content::Bytes(&[9; 512 * 1024]), 128, &counters).unwrap().unwrap();
            assert!(main.announce(&mut larger));
            main.named(larger, until);
        }
        main.tidy(256);
        assert!(borrower.open(id + 1, 1).is_ok());
        borrower.receive_parcels(&mut borrower.state.lock());
        assert!(borrower.open(id, 1).is_err());
    }

    #[test]
    fn what_is_no_parcel_ends_it_and_whoever_waits_hears_of_it() {
        let (ours, theirs) = Socket::pair().unwrap();
        let borrower = Borrower::new(Arc::new(theirs.into()), LIMITS, Vec::new());
        let wanting = borrower.want(SIZE);
        assert!(matches!(wanting.step(0), BorrowStep::Ask));
        // Lent, and no memory comes with it.
        let parcel = Answer::Parcel(Parcel::Lent { id: 1, size: SIZE as u64 });
        ours.send(&encode(&parcel), &[]).unwrap();
        assert!(!wanting.wait(None));
        assert!(matches!(wanting.step(0), BorrowStep::Ended));
        assert!(ours.poll_readable(None).unwrap().hangup);
        borrower.watch();
    }

    #[test]
    fn nothing_is_left_after_the_end() {
        let session = session();
        let (main, borrower, counters) = &session;
        let buffer = main.fill(Content::Bytes(&[7; SIZE]), 0, counters).unwrap().unwrap();
        let _lent = borrow(&session, 0).unwrap();
        main.end();
        borrower.end();
        assert!(matches!(main.open(1, 1), Err(OpenError::Violation(_))));
        assert!(matches!(borrower.want(SIZE).step(0), BorrowStep::Ended));
        main.discard(buffer);
        assert!(main.lend(SIZE as u64, counters).is_ok(), "it is told, and not sent");
    }
}
