//! The messages, of every length, each with a number and a checksum.

use fastrand::Rng;

use super::*;

/// The session's number, once, before anything else.
pub(super) const JOIN: Event<u64> = Event::new("join");
pub(super) const EVENT: Event<[u8]> = Event::new("event");
pub(super) const LARGE: Event<[u8]> = Event::new("large");
/// Answered at once, with [`answer`].
pub(super) const CALL: Method<[u8], u64> = Method::new("call");
/// Never answered: pending whenever one of the two dies.
pub(super) const HOLD: Method<(), ()> = Method::new("hold");
pub(super) const PUSH: Push<[u8]> = Push::new("push");
pub(super) const PATIENT: Push<[u8]> = Push::new("patient");
pub(super) const BLOB: Push<[u8]> = Push::new("blob");
/// The last message of a session that ends in order.
pub(super) const LAST: Push<()> = Push::new("last");
/// As [`CALL`], from main.
pub(super) const ASK: Method<[u8], u64> = Method::new("ask");
/// As [`HOLD`], from main.
pub(super) const KEEP: Method<(), ()> = Method::new("keep");
pub(super) const NEWS: Topic<[u8]> = Topic::new("news");

pub(super) const CONTRACT: Contract =
    &[&JOIN, &EVENT, &LARGE, &CALL, &HOLD, &PUSH, &PATIENT, &BLOB, &LAST, &ASK, &KEEP, &NEWS];

/// The rings of one session, in bytes: small, so that they are often full and soon lapped.
pub(super) const CAPACITY: usize = 64 * 1024;
pub(super) const TOPIC_CAPACITY: usize = 32 * 1024;

const HEADER: usize = 24;
/// Lengths of what follows the header.
const ORDINARY_MAX: usize = 24;
const LONG_MAX: usize = 8 * 1024;
const LARGE_MIN: usize = CAPACITY;
const LARGE_MAX: usize = 512 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    pub(super) number: u64,
    pub(super) session: u64,
}

/// Reads a message; `None` if a byte of it has changed.
pub(super) fn read(message: &[u8]) -> Option<Numbered> {
    let (header, body) = message.split_at_checked(HEADER)?;
    let word = |at: usize| {
        u64::from_le_bytes(header[at..at + 8].try_into().expect("a word has eight bytes"))
    };
    let numbered = Numbered { number: word(0), session: word(8) };
    (word(16) == checksum(numbered, body)).then_some(numbered)
}

pub(super) fn answer(request: Numbered) -> u64 {
    mix(mix(request.number) ^ request.session)
}

/// A send that took so long has waited for room.
const WAITED: Duration = Duration::from_millis(1);

/// Notes an error of a send that began at `began`. The peer may have been stopped, or something is short.
pub(super) fn note_send(role: &str, record: &Record, error: &SendError, began: Instant) {
    match error {
        // Main tries, and a renderer waits.
        SendError::Full { .. } if role == "main" => {}
        SendError::Gone { .. } if began.elapsed() <= WAITED => {}
        SendError::Gone { .. } => record.last_error_ns.raise(now_ns()),
        SendError::AttachmentQuota { .. } if role == "renderer" => _ = record.refused.add(1),
        SendError::TimedOut { .. } | SendError::NoMemory { .. } => _ = record.refused.add(1),
        error => {
            eprintln!("stress {role}: {error}");
            record.unexpected.add(1);
        }
    }
}

/// A request under way, with everything that its outcome is noted in.
pub(super) struct Asked {
    invocation: Invocation<u64, Failure>,
    role: &'static str,
    record: &'static Record,
    flow: &'static Flow,
    request: Numbered,
}

impl Asked {
    /// Waits for the outcome. Returns whether the peer is gone.
    pub(super) fn wait(self) -> bool {
        let Self { invocation, role, record, flow, request } = self;
        let outcome = invocation.wait();
        let is_gone = matches!(outcome, Err(InvokeError::Gone { .. }));
        note_outcome(role, record, flow, request, outcome);
        is_gone
    }

    /// Notes the outcome in a callback. Until then `pending` counts the request.
    pub(super) fn note_later(self, pending: &Arc<AtomicUsize>) {
        let Self { invocation, role, record, flow, request } = self;
        pending.fetch_add(1, Relaxed);
        let pending = pending.clone();
        invocation.then(move |outcome| {
            note_outcome(role, record, flow, request, outcome);
            pending.fetch_sub(1, Relaxed);
        });
    }
}

fn note_outcome(
    role: &str,
    record: &Record,
    flow: &Flow,
    request: Numbered,
    outcome: Result<u64, InvokeError>,
) {
    match outcome {
        Ok(reply) if reply == answer(request) => _ = flow.acknowledged.add(1),
        Ok(_) => _ = flow.corrupt.add(1),
        Err(InvokeError::Gone { .. }) => record.last_error_ns.raise(now_ns()),
        Err(error) => {
            eprintln!("stress {role}: {error}");
            record.unexpected.add(1);
        }
    }
}

fn checksum(numbered: Numbered, body: &[u8]) -> u64 {
    let (words, rest) = body.as_chunks::<8>();
    let start = answer(numbered) ^ body.len() as u64;
    let sum = words.iter().fold(start, |sum, word| mix(sum ^ u64::from_le_bytes(*word)));
    rest.iter().fold(sum, |sum, byte| mix(sum ^ u64::from(*byte)))
}

fn mix(word: u64) -> u64 {
    (word ^ word >> 29).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23)
}

/// Writes messages, of lengths and contents that its seed chooses.
pub(super) struct Composer {
    rng: Rng,
    source: Vec<u8>,
    message: Vec<u8>,
}

impl Composer {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut source = vec![0; LARGE_MAX];
        rng.fill(&mut source);
        // The full capacity at once: a process that is short of memory must be able to send.
        Self { rng, source, message: Vec::with_capacity(HEADER + LARGE_MAX) }
    }

    pub(super) fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Mostly within a cell, now and then a good part of a ring.
    pub(super) fn ordinary(&mut self) -> usize {
        match self.rng.u8(..) {
            0..=3 => self.rng.usize(..=LONG_MAX),
            4..=40 => self.rng.usize(..=LONG_MAX / 16),
            _ => self.rng.usize(..=ORDINARY_MAX),
        }
    }

    pub(super) fn large(&mut self) -> usize {
        self.rng.usize(LARGE_MIN..=LARGE_MAX)
    }

    /// A message with so many bytes behind its header.
    pub(super) fn compose(&mut self, numbered: Numbered, len: usize) -> &[u8] {
        let from = self.rng.usize(..=LARGE_MAX - len);
        let body = &self.source[from..from + len];
        self.message.clear();
        self.message.extend_from_slice(&numbered.number.to_le_bytes());
        self.message.extend_from_slice(&numbered.session.to_le_bytes());
        self.message.extend_from_slice(&checksum(numbered, body).to_le_bytes());
        self.message.extend_from_slice(body);
        &self.message
    }
}

/// The sending end of a stream: notes before and after.
pub(super) struct Outflow {
    record: &'static Record,
    flow: &'static Flow,
    session: u64,
    next: u64,
}

impl Outflow {
    pub(super) fn new(record: &'static Record, stream: Stream) -> Self {
        Self { record, flow: record.flow(stream), session: record.session.get(), next: 0 }
    }

    /// Sends the next message. After an error the next one has the same number: if the failed one was sent after all,
    /// there are two.
    pub(super) fn send<T, E>(
        &mut self,
        composer: &mut Composer,
        len: usize,
        send: impl FnOnce(&[u8]) -> Result<T, E>,
    ) -> Result<T, E> {
        let numbered = Numbered { number: self.next, session: self.session };
        self.flow.begun.set(self.next + 1);
        let sent = send(composer.compose(numbered, len))?;
        self.next += 1;
        self.flow.done.set(self.next);
        Ok(sent)
    }

    /// Begins a request.
    pub(super) fn ask(
        &mut self,
        role: &'static str,
        composer: &mut Composer,
        invoke: impl FnOnce(&[u8]) -> Result<Invocation<u64, Failure>, InvokeError>,
    ) -> Result<Asked, InvokeError> {
        let len = composer.ordinary();
        let request = Numbered { number: self.next, session: self.session };
        let invocation = self.send(composer, len, invoke)?;
        Ok(Asked { invocation, role, record: self.record, flow: self.flow, request })
    }

    /// Sends many messages, of these lengths.
    pub(super) fn send_all(
        &mut self,
        composer: &mut Composer,
        lens: &[usize],
        send: impl FnOnce(&[Vec<u8>]) -> Result<(), SendAllError>,
    ) -> Result<(), SendAllError> {
        let (session, next) = (self.session, self.next);
        let messages: Vec<_> = (next..)
            .zip(lens)
            .map(|(number, len)| composer.compose(Numbered { number, session }, *len).to_vec())
            .collect();
        self.flow.begun.set(next + lens.len() as u64);
        let sent = send(&messages);
        self.next += sent.as_ref().map_or_else(|error| error.sent, |()| lens.len()) as u64;
        self.flow.done.set(self.next);
        sent
    }
}

/// The receiving end of a stream.
pub(super) struct Inflow {
    flow: &'static Flow,
    session: u64,
    expected: u64,
}

impl Inflow {
    pub(super) fn new(record: &'static Record, stream: Stream) -> Self {
        Self { flow: record.flow(stream), session: record.session.get(), expected: 0 }
    }

    /// Notes a message, and returns its number.
    pub(super) fn take(&mut self, message: &[u8]) -> Option<Numbered> {
        let Some(numbered) = read(message).filter(|read| read.session == self.session) else {
            self.flow.corrupt.add(1);
            return None;
        };
        match numbered.number.checked_sub(self.expected) {
            Some(skipped) => {
                self.flow.skipped.add(skipped);
                self.expected = numbered.number + 1;
            }
            None => _ = self.flow.duplicates.add(1),
        }
        self.flow.received.add(1);
        Some(numbered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Numbered = Numbered { number: 0, session: 1 };

    #[test]
    fn a_message_of_any_length_is_read_as_it_was_written_and_no_changed_byte_is_missed() {
        let mut composer = Composer::new(1);
        for len in [0, 1, 7, 8, 9, 24, 1000] {
            let message = composer.compose(FIRST, len).to_vec();
            assert_eq!(read(&message), Some(FIRST));
            assert_eq!(read(&message[..message.len() - 1]), None);
            for at in 0..message.len() {
                let mut changed = message.clone();
                changed[at] ^= 0x10;
                assert_eq!(read(&changed), None, "byte {at} of {len}");
            }
        }
    }

    #[test]
    fn missing_repeated_and_foreign_messages_are_noted() {
        let (board, _descriptor) = Board::create().unwrap();
        let record = board.begin(0, 1, false);
        let mut inflow = Inflow::new(record, Stream::Push);
        let mut composer = Composer::new(2);
        for (number, session) in [(0, 1), (3, 1), (3, 1), (4, 2)] {
            inflow.take(composer.compose(Numbered { number, session }, 10));
        }
        let flow = record.flow(Stream::Push);
        assert_eq!((flow.received.get(), flow.skipped.get()), (3, 2));
        assert_eq!((flow.duplicates.get(), flow.corrupt.get()), (1, 1));
    }

    #[test]
    fn a_message_that_was_not_sent_leaves_its_number_to_the_next() {
        let (board, _descriptor) = Board::create().unwrap();
        let record = board.begin(0, 1, false);
        let mut outflow = Outflow::new(record, Stream::Event);
        let mut composer = Composer::new(3);
        let mut numbers = Vec::new();
        for result in [Ok(()), Err(()), Ok(())] {
            let _ = outflow.send(&mut composer, 0, |message| {
                numbers.push(read(message).unwrap().number);
                result
            });
        }
        assert_eq!(numbers, [0, 1, 1]);
        assert_eq!((outflow.flow.begun.get(), outflow.flow.done.get()), (2, 2));
    }
}
