//! Invokes and their handlers, by Electron's rules and beyond them.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::mpsc,
    task::{Poll, Waker},
};

use tests::prelude::*;

fn double(_: &IpcMainInvokeEvent<'_>, number: &u64) -> Result<u64, Failure> {
    Ok(number * 2)
}

/// Keeps every call's responder for the test.
fn keep_calls(stage: &Stage) -> Notes<(u64, Responder<u64, Failure>)> {
    let kept = Notes::new();
    let keep = kept.adding();
    stage.answer_later(ASK, move |_, number, responder| keep((*number, responder)));
    kept
}

/// The results of a few invokes of `ask`, one after the other, and the window's counters.
fn results(times: u64, register: impl FnOnce(&Stage)) -> (Vec<String>, Counters) {
    let stage = Stage::new();
    register(&stage);
    let window = stage.play_with(asks, &[&times.to_string()]);
    (stage.run_to_the_end(), window.counters())
}

#[test]
fn every_kind_of_payload_goes_there_and_back() {
    let stage = Stage::new();
    stage.answer_all();
    stage.answer(READ, |_, path| Ok(format!("the text of {path}")));
    stage.answer(MERGE, |_, settings| Ok(settings.clone()));
    stage.play_to_the_end(|ipc| {
        assert_eq!(ipc.ask(ADD, &[2, 3]), Ok(5));
        for len in [0, 48, 49, 1024, 65_536] {
            assert_eq!(ipc.ask(ECHO, &pattern(len)), Ok(pattern(len)));
        }
        assert_eq!(ipc.ask(READ, "a/path").as_deref(), Ok("the text of a/path"));
        assert_eq!(ipc.ask(MERGE, &settings()), Ok(settings()));
    });
}

#[test]
fn a_reply_is_read_where_it_lies_and_a_reader_is_inside_the_loop() {
    let stage = Stage::new();
    stage.answer_all();
    stage.answer(NEGATE, |_, _| panic!("this panic is part of the test"));
    stage.play_to_the_end(|ipc| {
        // In the ring, and in memory of its own.
        for len in [0, 49, 65_536, 1 << 20] {
            let invocation = ipc.invoke(ECHO, &pattern(len)).unwrap();
            let is_same = invocation.wait_read(|reply| reply == pattern(len)).unwrap();
            assert!(is_same, "{len} bytes");
        }
        let nested = ipc.invoke(ADD, &[2, 3]).unwrap().wait_read(|sum| {
            let inner = ipc.invoke(ADD, &[1, 1]).unwrap().wait();
            assert_eq!(inner, Err(InvokeError::InsideListener { channel: "add" }));
            *sum
        });
        assert_eq!(nested, Ok(5));
        let failed = ipc.invoke(NEGATE, &true).unwrap().wait_read(|_| unreachable!());
        assert_eq!(failed, Err::<(), _>(InvokeError::Panicked { channel: "negate" }));
        // A reader that panics leaves the session as it was.
        let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
            ipc.invoke(ADD, &[2, 3])
                .unwrap()
                .wait_read(|_| panic!("this panic is part of the test"))
        }));
        assert!(panicked.is_err());
        assert_eq!(ipc.ask(ADD, &[2, 3]), Ok(5));
    });
}

#[test]
fn a_handler_answers_with_a_part_of_its_arguments_in_both_directions() {
    let stage = Stage::new();
    stage.answer_with(ECHO, |_, bytes, reply| reply.send(&bytes[..bytes.len() / 2]));
    let window = stage.play_ready(
        |ipc| {
            for len in [0, 48, 1024, 65_536, 1 << 20] {
                assert_eq!(ipc.ask(ECHO, &pattern(len)), Ok(pattern(len)[..len / 2].to_vec()));
            }
            ipc.answer_with(READ, |_, path, reply| reply.send(&path[..1]));
            ipc.report("ready");
            ipc.run().unwrap();
        },
        &[],
    );
    assert_eq!(window.invoke(READ, "a/path", LIMIT).unwrap().wait().as_deref(), Ok("a"));
    stage.close(&window);
}

#[test]
fn a_second_handler_is_refused_in_electrons_words_and_the_first_one_stays() {
    let (results, _) = results(3, |stage| {
        stage.answer(ASK, double);
        let refusals = [
            stage.ipc.handle(ASK, |_, _| Ok(0)),
            stage.ipc.handle_once(ASK, |_, _| Ok(0)),
            stage.ipc.handle_with(ASK, |_, _, reply| reply.send(&0)),
            stage.ipc.handle_deferred(ASK, |_, _, _| ()),
            stage.ipc.handle_async(ASK, |_, _| async { Ok(0) }),
        ];
        for refused in refusals.map(Result::unwrap_err) {
            assert_eq!(refused, RegisterError::SecondHandler { channel: "ask" });
            assert_eq!(refused.to_string(), "Attempted to register a second handler for 'ask'");
        }
    });
    assert_eq!(results, ["0", "2", "4"]);
}

#[test]
fn a_failed_invoke_tells_its_caller_why_in_electrons_words() {
    const NEVER: &str = "reply was never sent";
    type Register = fn(&Stage);
    let cases: [(Register, &str, u64); 8] = [
        (|_| (), "Error: No handler registered for 'ask'", 2),
        (|stage| stage.answer(ASK, |_, _| Err(Failure::new("too few"))), "Error: too few", 0),
        (|stage| stage.answer(ASK, |_, _| Err(Failure::new(""))), "Error: ", 0),
        (
            |stage| stage.answer_with(ASK, |_, _, reply| reply.reject(&Failure::new("full"))),
            "Error: full",
            0,
        ),
        (|stage| stage.answer_with(ASK, |_, _, _| ()), NEVER, 0),
        (|stage| stage.answer_later(ASK, |_, _, _| ()), NEVER, 0),
        (|stage| stage.answer_later(ASK, |_, _, kept| _ = thread::spawn(|| drop(kept))), NEVER, 0),
        // No waker is left of this future.
        (|stage| stage.answer_async(ASK, |_, _| std::future::pending()), NEVER, 0),
    ];
    for (register, why, unhandled) in cases {
        let (results, counters) = results(2, register);
        let text = format!("Error invoking remote method 'ask': {why}");
        assert_eq!(results, [text.as_str(), &text]);
        assert_eq!(counters.unhandled, unhandled);
    }
}

#[test]
fn a_handlers_error_keeps_its_type() {
    let stage = Stage::new();
    stage.answer(DIVIDE, |_, [left, right]| match right {
        0 => Err(DivideError::ByZero),
        _ => left.checked_div(*right).ok_or(DivideError::Overflow),
    });
    stage.play_to_the_end(|ipc| {
        assert_eq!(ipc.ask(DIVIDE, &[7, 2]), Ok(3));
        for (arguments, error, text) in [
            ([1, 0], DivideError::ByZero, "division by zero"),
            ([i64::MIN, -1], DivideError::Overflow, "overflow"),
        ] {
            let failed = ipc.ask(DIVIDE, &arguments).unwrap_err();
            let text = format!("Error invoking remote method 'divide': {text}");
            assert_eq!(failed.to_string(), text);
            assert_eq!(failed, InvokeError::Handler { channel: "divide", error });
        }
    });
}

#[test]
fn a_handler_that_panics_fails_its_call_and_main_goes_on() {
    fn check(number: u64) -> u64 {
        assert_ne!(number, 1, "this panic is part of the test");
        number
    }
    let handlers: [fn(&Stage); 5] = [
        |stage| stage.answer(ASK, |_, number| Ok(check(*number))),
        |stage| stage.answer_with(ASK, |_, number, reply| reply.send(&check(*number))),
        |stage| stage.answer_later(ASK, |_, number, to| _ = to.reply(&check(*number))),
        |stage| {
            stage.answer_async(ASK, |_, number| {
                let number = check(number);
                async move { Ok(number) }
            });
        },
        |stage| stage.answer_async(ASK, |_, number| async move { Ok(check(number)) }),
    ];
    for register in handlers {
        let text = "Error invoking remote method 'ask': Error: the handler panicked";
        assert_eq!(results(3, register).0, ["0", text, "2"]);
    }
}

#[test]
fn invalid_arguments_are_the_callers_error_and_are_counted() {
    let stage = Stage::new();
    let flags = stage.notes(FLAG);
    stage.answer(NEGATE, |_, flag| Ok(!flag));
    let window = stage.play(|ipc| {
        // By name and schema these are the test's channels `flag` and `negate`.
        ipc.send(Event::<Lie<1>>::new("flag"), &Lie).unwrap();
        ipc.send(Event::<Lie<9>>::new("flag"), &Lie).unwrap();
        ipc.send(FLAG, &true).unwrap();
        ipc.report(ipc.ask(Method::<Lie<1>, bool>::new("negate"), &Lie).unwrap_err());
        ipc.report(ipc.ask(Method::<Lie<0>, bool>::new("negate"), &Lie).unwrap_err());
        assert_eq!(ipc.ask(NEGATE, &true), Ok(false));
    });
    let bad = "Error invoking remote method 'negate': bad arguments: expected bool, got";
    assert_eq!(
        stage.run_to_the_end(),
        [format!("{bad} 1 bytes that are no valid value of it"), format!("{bad} 0 bytes")]
    );
    assert_eq!(flags.take(), [true], "no listener got an invalid value");
    assert_eq!(window.counters().bad_payloads, 4);
}

#[test]
fn a_once_handler_is_removed_before_it_runs_and_may_register_its_successor() {
    let stage = Stage::new();
    let ipc = stage.ipc.clone();
    let once = stage.ipc.handle_once(ASK, move |_, _| {
        ipc.handle_once(ASK, |_, _| Ok(2)).map_err(Failure::new)?;
        Ok(1)
    });
    once.unwrap();
    stage.play_with(asks_all_at_once, &["3"]);
    let none = "2: Error invoking remote method 'ask': Error: No handler registered for 'ask'";
    assert_eq!(stage.run_to_the_end(), ["0: 1", "1: 2", none]);
}

#[test]
fn removing_a_handler_is_silent_when_there_is_none_and_calls_under_way_still_reply() {
    let stage = Stage::new();
    stage.ipc.remove_handler(ASK);
    let kept = keep_calls(&stage);
    let window = stage.play(asks_and_stays);
    stage.run_until("the first call", || kept.len() == 1);
    stage.ipc.remove_handler(ASK);
    stage.ipc.remove_handler(ASK);
    window.send(CUE, "").unwrap();
    stage.run_until("the second call is refused", || window.counters().unhandled == 1);
    assert!(kept.take().remove(0).1.reply(&101));
    let none = "Error invoking remote method 'ask': Error: No handler registered for 'ask'";
    assert_eq!(stage.run_to_the_end(), [none, "101"]);
}

#[test]
fn replies_go_in_any_order() {
    let stage = Stage::new();
    let kept = keep_calls(&stage);
    stage.play_with(asks_all_at_once, &["4"]);
    stage.run_until("four calls", || kept.len() == 4);
    for (number, responder) in kept.take().into_iter().rev() {
        assert!(responder.reply(&(number * 10)));
    }
    assert_eq!(stage.run_to_the_end(), ["3: 30", "2: 20", "1: 10", "0: 0"]);
}

#[test]
fn each_invoke_runs_its_handler_once_and_gets_one_reply_from_any_thread() {
    let stage = Stage::new();
    let handled = Notes::new();
    let note = handled.adding();
    stage.answer_later(ASK, move |_, &number, responder| {
        note(number);
        if number.is_multiple_of(4) {
            thread::spawn(move || assert!(responder.reply(&number)));
        } else {
            assert!(responder.reply(&number));
        }
    });
    let window = stage.play_to_the_end(|ipc| {
        thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    (thread * 500..(thread + 1) * 500)
                        .for_each(|number| assert_eq!(ipc.ask(ASK, &number), Ok(number)));
                });
            }
        });
        let counters = ipc.counters();
        assert_eq!((counters.stale_replies, counters.timed_out), (0, 0));
    });
    let mut handled = handled.take();
    handled.sort_unstable();
    assert!(handled.into_iter().eq(0..2000));
    assert_eq!(window.counters().invokes_received, 2000);
}

#[test]
fn async_handlers_overlap() {
    let stage = Stage::new();
    // Each call is ready when the last of them has come.
    let wakers = Notes::<Waker>::new();
    let (waiting, arrived) = (wakers.clone(), Notes::new());
    stage.answer_async(ASK, move |_, number| {
        arrived.add(number);
        waiting.take().into_iter().for_each(Waker::wake);
        let (waiting, arrived) = (waiting.clone(), arrived.clone());
        std::future::poll_fn(move |context| {
            if arrived.len() == 4 {
                return Poll::Ready(Ok(number));
            }
            waiting.add(context.waker().clone());
            Poll::Pending
        })
    });
    stage.play_with(asks_all_at_once, &["4"]);
    let mut reports = stage.run_to_the_end();
    reports.sort();
    assert_eq!(reports, ["0: 0", "1: 1", "2: 2", "3: 3"]);
    assert!(wakers.is_empty());
}

#[test]
fn the_handler_sees_the_deadline_and_an_invoke_without_a_reply_ends_by_it() {
    let stage = Stage::new();
    let (timeouts, kept, cancelled) = (Notes::new(), Notes::new(), Notes::new());
    let (note, keep, cancel) = (timeouts.adding(), kept.adding(), cancelled.adding());
    stage.answer_later(ASK, move |event, number, responder| {
        assert_eq!(event.timeout(), responder.timeout());
        note((event.timeout(), responder.deadline()));
        if *number == 0 {
            responder.reply(number);
        } else {
            let cancel = cancel.clone();
            responder.on_cancel(move || cancel(()));
            keep(responder);
        }
    });
    let window = stage.play(|ipc| {
        for timeout in [Some(Duration::from_millis(500)), Some(Duration::from_secs(3600)), None] {
            assert_eq!(ipc.invoke_with(ASK, &0, timeout).unwrap().wait(), Ok(0));
        }
        let timeout = Some(Duration::from_millis(50));
        ipc.report(outcome(ipc.invoke_with(ASK, &1, timeout).unwrap().wait()));
        assert_eq!(ipc.ask(ASK, &0), Ok(0), "the next one is not disturbed");
        assert_eq!(ipc.counters().timed_out, 1);
    });
    assert_eq!(stage.run_to_the_end(), ["no reply to 'ask' within 50ms"]);

    let asked = [Some(500), Some(3_600_000), None, Some(50), Some(30_000)];
    let timeouts = timeouts.take();
    assert_eq!(timeouts.len(), asked.len());
    for ((timeout, deadline), asked) in timeouts.into_iter().zip(asked) {
        assert_eq!(timeout.is_some(), deadline.is_some());
        // A frame carries it rounded up.
        let asked = asked.map(Duration::from_millis);
        let at_most = asked.map(|asked| asked + asked / 8);
        assert!((asked..=at_most).contains(&timeout), "{asked:?} became {timeout:?}");
    }
    assert_eq!(cancelled.len(), 1);
    let responder = kept.take().remove(0);
    assert!(responder.is_cancelled());
    assert!(!responder.reply(&1), "no caller waits for it any more");
    let counters = window.counters();
    assert_eq!((counters.cancelled, counters.late_replies), (1, 1));
}

#[test]
fn a_dropped_invocation_cancels_its_handler() {
    let stage = Stage::new();
    let (kept, cancelled) = (keep_calls(&stage), Notes::new());
    let window = stage.play(asks_and_gives_up);
    stage.run_until("the call", || kept.len() == 1);
    let (_, responder) = kept.take().remove(0);
    let (cancel, again) = (cancelled.adding(), cancelled.adding());
    responder.on_cancel(move || cancel(()));
    assert!(!responder.is_cancelled());
    window.send(CUE, "give up").unwrap();
    stage.run_until("the cancel", || cancelled.len() == 1);
    assert!(responder.is_cancelled());
    responder.on_cancel(move || again(()));
    assert_eq!(cancelled.len(), 2, "a callback that comes too late is called at once");
    assert!(!responder.reply(&1));
    stage.cue_to_the_end(&window);
    let counters = window.counters();
    assert_eq!((counters.cancelled, counters.late_replies), (1, 1));
}

#[test]
fn a_handlers_future_is_dropped_when_the_caller_gives_up() {
    struct Dropped(Notes<()>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.add(());
        }
    }
    let stage = Stage::new();
    let (dropped, wakers) = (Notes::new(), Notes::<Waker>::new());
    let (notes, keep) = (dropped.clone(), wakers.adding());
    stage.answer_async(ASK, move |_, _| {
        let (guard, keep) = (Dropped(notes.clone()), keep.clone());
        std::future::poll_fn(move |context| {
            let _held_by_the_future = &guard;
            keep(context.waker().clone());
            Poll::Pending
        })
    });
    let window = stage.play(asks_and_gives_up);
    stage.run_until("the call", || wakers.len() == 1);
    assert!(dropped.is_empty());
    window.send(CUE, "give up").unwrap();
    stage.run_until("the future is dropped", || dropped.len() == 1);
    wakers.take().into_iter().for_each(Waker::wake);
    stage.cue_to_the_end(&window);
}

#[test]
fn a_wait_with_a_timeout_gives_the_invocation_back_still_under_way() {
    let stage = Stage::new();
    let kept = keep_calls(&stage);
    stage.play(|ipc| {
        let mut asked = ipc.invoke(ASK, &1).unwrap();
        for look in 1.. {
            match asked.wait_timeout(Duration::from_millis(20)) {
                Ok(result) => return ipc.report(outcome(result)),
                Err(still_under_way) => asked = still_under_way,
            }
            if look == 2 {
                ipc.report("looked twice");
            }
        }
    });
    stage.run_until_reported("looked twice");
    assert!(kept.take().remove(0).1.reply(&5));
    assert_eq!(stage.run_to_the_end(), ["looked twice", "5"]);
}

#[test]
fn a_wait_inside_a_listener_is_refused_and_a_callback_works() {
    let stage = Stage::new();
    stage.answer(ASK, double);
    let scene: RendererScene = |ipc| {
        let results = Notes::new();
        let (inside, note) = (ipc.clone(), results.adding());
        ipc.hear(CUE, move |_, _| {
            note(outcome(inside.ask(ASK, &1)));
            note(inside.poll().expect_err("the loop runs this listener").to_string());
            let note = note.clone();
            inside.invoke(ASK, &2).unwrap().then(move |result| note(outcome(result)));
        });
        ipc.run_until("three results", || results.len() == 3);
        results.take().iter().for_each(|result| ipc.report(result));
    };
    stage.play(scene).send(CUE, "").unwrap();
    assert_eq!(
        stage.run_to_the_end(),
        [
            "cannot wait for 'ask' inside a listener or handler: use then() or an async handler",
            "run and poll cannot be called inside a listener or handler",
            "4",
        ]
    );
}

#[test]
fn invocations_can_be_awaited_while_another_thread_drives() {
    let stage = Stage::new();
    stage.answer_all();
    stage.play_to_the_end(|ipc| {
        ipc.drive_in_background().unwrap();
        let sum = block_on(async {
            let mut sum = 0;
            for number in 0..100 {
                sum += ipc.invoke(ASK, &number).unwrap().await.unwrap();
            }
            sum
        });
        assert_eq!(sum, 4950);
        assert_eq!(ipc.ask(ASK, &7), Ok(7), "a plain wait works beside the driver");
    });
}

#[test]
fn main_invokes_a_renderer_and_gets_values_and_errors_as_a_renderer_does() {
    let stage = Stage::new();
    let window = stage.play_ready(answers, &[]);
    let add = |left, right| window.invoke(ADD, &[left, right], LIMIT).unwrap();
    assert_eq!(add(2, 3).wait(), Ok(5));
    assert_eq!(window.invoke(ASK, &21, LIMIT).unwrap().wait(), Ok(42));
    let bytes = pattern(20_000);
    assert_eq!(window.invoke(ECHO, &bytes, LIMIT).unwrap().wait(), Ok(bytes));
    assert_eq!(
        window.invoke(DIVIDE, &[1, 0], LIMIT).unwrap().wait(),
        Err(InvokeError::Handler { channel: "divide", error: DivideError::ByZero })
    );
    let refused = window.invoke(READ, "x", LIMIT).unwrap().wait().unwrap_err();
    assert_eq!(refused.to_string(), "Error invoking remote method 'read': Error: no file x");
    let unhandled = window.invoke(NEGATE, &true, LIMIT).unwrap().wait();
    assert_eq!(unhandled, Err(InvokeError::NoHandler { channel: "negate" }));

    // Several at once, settled while the loop runs for something else.
    let sums = Notes::new();
    (0..50).for_each(|number| add(number, number).then(sums.adding()));
    stage.run_until("fifty sums", || sums.len() == 50);
    assert!(sums.take().into_iter().eq((0..50).map(|number| Ok(number * 2))));
    stage.cue_to_the_end(&window);
}

#[test]
fn a_wait_inside_a_listener_of_main_is_refused_and_a_callback_works() {
    let stage = Stage::new();
    let results = Notes::new();
    let note = results.adding();
    let asking = stage.play_ready(answers, &[]);
    let once = stage.ipc.once(NUMBER, move |event, _| {
        assert_ne!(event.sender(), asking);
        note(asking.invoke(ADD, &[1, 1], LIMIT).unwrap().wait());
        let (note, window) = (note.clone(), asking.clone());
        asking.invoke(ADD, &[1, 1], LIMIT).unwrap().then(move |sum| {
            note(sum);
            window.send(CUE, "end").unwrap();
        });
    });
    once.unwrap();
    stage.play_with(sends_numbers, &["1"]);
    stage.run_to_the_end();
    assert_eq!(results.take(), [Err(InvokeError::InsideListener { channel: "add" }), Ok(2)]);
}

#[test]
fn a_renderer_that_does_not_answer_costs_main_its_deadline_and_sees_the_cancel() {
    let stage = Stage::new();
    let window = stage.play_ready(answers_never, &[]);
    let (began, timeout) = (Instant::now(), Duration::from_millis(50));
    let result = window.invoke(ASK, &1, timeout).unwrap().wait();
    assert_eq!(result, Err(InvokeError::TimedOut { channel: "ask", timeout }));
    assert!(began.elapsed() >= timeout);
    assert_eq!(stage.run_to_the_end(), ["ready", "main gave up"]);
    assert_eq!(window.counters().timed_out, 1);
}

#[test]
fn each_side_answers_the_other_while_it_waits_itself() {
    let stage = Stage::new();
    let (sender, asked) = mpsc::channel();
    stage.answer_later(ASK, move |event, number, responder| {
        sender.send((event.sender(), *number, responder)).unwrap();
    });
    // Another thread of main asks back, while the renderer waits for its own answer.
    let answering = thread::spawn(move || {
        let (window, number, responder) = asked.recv_timeout(LIMIT).unwrap();
        let sum = window.invoke(ADD, &[number, 1], LIMIT).unwrap().wait().unwrap();
        responder.reply(&(sum * 2))
    });
    stage.play_to_the_end(|ipc| {
        ipc.answer(ADD, |_, [left, right]| Ok(left + right));
        // Main answers this only after it has got the sum.
        assert_eq!(ipc.ask(ASK, &20), Ok(42));
    });
    assert!(answering.join().unwrap());
}

/// Drops an invocation at the first cue, and ends at the second.
fn asks_and_gives_up(ipc: &Renderer) {
    let cues = ipc.cues();
    let given_up = ipc.invoke(ASK, &1).unwrap();
    cues.wait();
    drop(given_up);
    cues.wait();
}

/// Bytes that claim the schema of a `bool`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Lie<const LEN: usize>;

impl<const LEN: usize> Payload for Lie<LEN> {
    type Owned = Self;

    fn schema() -> String {
        "bool".to_owned()
    }

    fn encode<R>(&self, put: impl FnOnce(&[u8]) -> R) -> Result<R, EncodeError> {
        Ok(put(&[2; LEN]))
    }

    fn decode<R>(_: &[u8], take: impl FnOnce(&Self) -> R) -> Result<R, DecodeError> {
        Ok(take(&Self))
    }

    fn decode_owned(_: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

/// Handles main's invokes with each kind of handler, until main's cue.
fn answers(ipc: &Renderer) {
    ipc.answer(ADD, |_, [left, right]| Ok(left + right));
    assert!(ipc.handle(ADD, |_, _| Ok(0)).is_err());
    ipc.answer(READ, |_, path| Err(Failure::new(format!("no file {path}"))));
    ipc.answer_later(ASK, |event, &number, responder| {
        assert!(event.timeout().is_some(), "main always gives a deadline");
        thread::spawn(move || responder.reply(&(number * 2)));
    });
    ipc.answer_async(ECHO, |_, bytes| async move { Ok(bytes) });
    ipc.answer(DIVIDE, |_, [left, right]| left.checked_div(*right).ok_or(DivideError::ByZero));
    ipc.wait_for_cue("ready");
}
