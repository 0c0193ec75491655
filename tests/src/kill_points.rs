//! Two processes that do everything to each other, until one of them dies at a given step.
//!
//! What each side does is here, because each is the survivor in one test and the victim in the other.

use std::{
    fs::File,
    io::{PipeReader, Read, Write},
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use ringbridge::{
    Config, InvokeError, IpcMain, IpcRenderer, RunError, SendError, WaitStrategy, WebContents,
};

use crate::{
    contract::{
        ADD, ASK, BLOB, BYTES, CONTRACT, ECHO, NUMBER, READ, TICK, is_large, large, pattern,
    },
    processes::LIMIT,
    stage,
};

/// Longer than a ring carries.
const LARGE: usize = 100_000;
/// Of what is sent, so much is long, asked or large: one in so many numbers.
const LONG_EVERY: u64 = 4;
const ASK_EVERY: u64 = 16;
const LARGE_EVERY: u64 = 32;
/// A listener that is slow once in so many messages: then the ring is full, and the sender waits.
const SLOW_EVERY: u64 = 64;
const SLOW: Duration = Duration::from_millis(3);

/// Rings that are soon full and soon lapped, and sides that sleep whenever they can.
pub fn config() -> Config {
    Config {
        wait: WaitStrategy::Park,
        main_capacity: 4096,
        renderer_capacity: 4096,
        ..stage::config()
    }
}

/// What one side has heard: numbers from 0 on, and what it was told of the end.
#[derive(Clone, Default)]
pub struct Heard {
    count: Arc<AtomicU64>,
    out_of_order: Arc<AtomicBool>,
    told: Arc<AtomicBool>,
}

impl Heard {
    /// How many numbers came; `None` if one of them was not the next.
    pub fn count(&self) -> Option<u64> {
        (!self.out_of_order.load(Relaxed)).then(|| self.count.load(Relaxed))
    }

    /// Whether the invoke that is never answered was told that the other side is gone.
    pub fn was_told(&self) -> bool {
        self.told.load(Relaxed)
    }

    fn take(&self, number: u64) {
        if self.count.fetch_add(1, Relaxed) != number {
            self.out_of_order.store(true, Relaxed);
        }
        if number % SLOW_EVERY == SLOW_EVERY - 1 {
            thread::sleep(SLOW);
        }
    }

    fn tell<R, E>(&self, result: &Result<R, InvokeError<E>>)
    where
        E: std::fmt::Debug + std::fmt::Display,
    {
        self.told.store(matches!(result, Err(InvokeError::Gone { .. })), Relaxed);
    }
}

/// A pipe into which a process writes each number whose sending has returned, so that it is known after
/// its death how many there were.
pub struct Notebook(File);

impl Notebook {
    /// On the standard output, which its test has given it.
    pub fn of_this_process() -> Self {
        let output = std::io::stdout();
        let descriptor = rustix::io::dup(&output).expect("there is a standard output");
        Self(File::from(descriptor))
    }

    /// For a side that will not die.
    pub fn nowhere() -> Self {
        Self(File::create("/dev/null").expect("it is there"))
    }

    fn note(&mut self, number: u64) {
        self.0.write_all(&number.to_le_bytes()).expect("somebody reads it");
    }

    /// How many sends had returned. The writer is dead.
    pub fn read(reader: PipeReader) -> u64 {
        let mut notes = Vec::new();
        File::from(OwnedFd::from(reader)).read_to_end(&mut notes).expect("a pipe can be read");
        (notes.len() / size_of::<u64>()) as u64
    }
}

/// Sends, asks and attaches until main is gone.
pub fn play_renderer(ipc: &IpcRenderer, heard: &Heard, notebook: &mut Notebook) {
    let ticks = heard.clone();
    ipc.on(TICK, move |_, number| ticks.take(*number)).expect("it is allowed");
    ipc.on(BLOB, |_, bytes| check(bytes)).expect("it is allowed");
    ipc.handle(ADD, |_, [left, right]| Ok(left + right)).expect("there is no other");
    let told = heard.clone();
    match ipc.invoke_with(READ, "for ever", None) {
        Ok(invocation) => invocation.then(move |result| told.tell(&result)),
        Err(error) => return assert!(is_gone(&error), "{error}"),
    }
    for number in 0.. {
        if let Err(error) = say(ipc, number, notebook) {
            assert!(is_gone(&error), "{error}");
            break;
        }
    }
    // What main has committed is still delivered.
    let ended = ipc.run_for(LIMIT);
    assert!(matches!(ended, Err(RunError::MainGone)), "{ended:?}");
}

fn say(ipc: &IpcRenderer, number: u64, notebook: &mut Notebook) -> Result<(), InvokeError> {
    ipc.send(NUMBER, &number)?;
    notebook.note(number);
    if number.is_multiple_of(LONG_EVERY) {
        ipc.send(BYTES, &pattern(number as usize % 1500))?;
    }
    if number.is_multiple_of(ASK_EVERY) {
        let bytes = pattern(number as usize % 900);
        assert_eq!(ipc.invoke(ECHO, &bytes)?.wait()?, bytes);
        // Sleeps, if there is nothing.
        match ipc.run_for(Duration::from_millis(1)) {
            Ok(()) | Err(RunError::MainGone) => {}
            Err(error) => panic!("{error}"),
        }
    }
    if number.is_multiple_of(LARGE_EVERY) {
        ipc.send(BYTES, &large(LARGE, 1))?;
    }
    Ok(())
}

/// Registers what main does when it is asked.
pub fn listen_in_main(ipc: &IpcMain, heard: &Heard) {
    let numbers = heard.clone();
    ipc.on(NUMBER, move |_, number| numbers.take(*number)).expect("the contract has it");
    ipc.on(BYTES, |_, bytes| check(bytes)).expect("the contract has it");
    ipc.handle(ECHO, |_, bytes| Ok(bytes.to_vec())).expect("there is no other");
    let kept = stage::Notes::new();
    ipc.handle_deferred(READ, move |_, _, responder| kept.add(responder)).expect("the same");
}

/// Pushes, asks and attaches until the renderer is gone. Not on the loop's thread.
pub fn push_from_main(window: &WebContents, heard: &Heard, notebook: &mut Notebook) {
    let told = heard.clone();
    match window.invoke(ASK, &1, LIMIT) {
        // Nobody handles it, until the renderer is gone.
        Ok(invocation) => invocation.then(move |result| told.tell(&result)),
        Err(error) => return assert!(is_gone(&error), "{error}"),
    }
    for number in 0.. {
        if let Err(error) = push(window, number, notebook) {
            return assert!(is_gone(&error), "{error}");
        }
    }
}

fn push(window: &WebContents, number: u64, notebook: &mut Notebook) -> Result<(), InvokeError> {
    window.send(TICK, &number)?;
    notebook.note(number);
    if number.is_multiple_of(LONG_EVERY) {
        window.send(BLOB, &pattern(number as usize % 1500))?;
    }
    if number.is_multiple_of(ASK_EVERY) {
        assert_eq!(window.invoke(ADD, &[number, 1], LIMIT)?.wait()?, number + 1);
    }
    if number.is_multiple_of(LARGE_EVERY) {
        window.send(BLOB, &large(LARGE, 1))?;
    }
    Ok(())
}

fn check(bytes: &[u8]) {
    let as_sent = if bytes.len() == LARGE {
        is_large(bytes, LARGE, 1)
    } else {
        bytes == pattern(bytes.len())
    };
    assert!(as_sent, "{} bytes are not as they were sent", bytes.len());
}

fn is_gone(error: &InvokeError) -> bool {
    matches!(error, InvokeError::Gone { .. } | InvokeError::Send(SendError::Gone { .. }))
}

/// Connects as the renderer that main has launched.
pub fn connect() -> Result<IpcRenderer, ringbridge::ConnectError> {
    IpcRenderer::connect_with(CONTRACT, config())
}
