//! There and back: `invoke` and `handle`, by Electron's rules and beyond them.

use std::{
    sync::mpsc,
    task::{Poll, Waker},
};

use tests::prelude::*;

/// Long enough never to be the reason for a failure.
const PATIENCE: Duration = LIMIT;

fn double(_: &IpcMainInvokeEvent<'_>, number: &u64) -> Result<u64, Failure> {
    Ok(number * 2)
}

/// Keeps every call's responder, for the test to answer.
fn keeping(
    kept: &Notes<(u64, Responder<u64, Failure>)>,
) -> impl FnMut(&IpcMainInvokeEvent<'_>, &u64, Responder<u64, Failure>) + Send + 'static {
    let kept = kept.clone();
    move |_, number, responder| kept.add((*number, responder))
}

// --- results and errors --------------------------------------------------------------------------

#[test]
fn every_kind_of_payload_goes_there_and_back() {
    let stage = Stage::new();
    stage.answer(ADD, |_, [left, right]| Ok(left + right));
    stage.answer(ECHO, |_, bytes| Ok(bytes.to_vec()));
    stage.answer(READ, |_, path| Ok(format!("the text of {path}")));
    stage.answer(MERGE, |_, settings| Ok(settings.clone()));
    stage.play(|ipc| {
        assert_eq!(ipc.invoke(ADD, &[2, 3]).unwrap().wait(), Ok(5));
        for len in [0, 48, 49, 1024, 65_536] {
            assert_eq!(ipc.invoke(ECHO, &pattern(len)).unwrap().wait(), Ok(pattern(len)));
        }
        assert_eq!(ipc.invoke(READ, "a/path").unwrap().wait().as_deref(), Ok("the text of a/path"));
        assert_eq!(ipc.invoke(MERGE, &settings()).unwrap().wait(), Ok(settings()));
    });
    stage.run_to_the_end();
}

#[test]
fn a_second_handler_is_refused_in_electrons_words_and_the_first_one_stays() {
    let stage = Stage::new();
    stage.answer(ASK, double);
    let refusals = [
        stage.ipc.handle(ASK, |_, _| Ok(0)),
        stage.ipc.handle_once(ASK, |_, _| Ok(0)),
        stage.ipc.handle_deferred(ASK, |_, _, _| ()),
        stage.ipc.handle_async(ASK, |_, _| async { Ok(0) }),
    ];
    for refused in refusals {
        assert_eq!(refused, Err(RegisterError::SecondHandler { channel: "ask" }));
        let text = refused.unwrap_err().to_string();
        assert_eq!(text, "Attempted to register a second handler for 'ask'");
    }
    stage.play_with(asks, &["3"]);
    assert_eq!(stage.run_to_the_end(), ["0", "2", "4"]);
}

#[test]
fn an_invoke_that_fails_tells_the_caller_why_in_electrons_words() {
    let (none, fails, fails_empty) = (Stage::new(), Stage::new(), Stage::new());
    fails.answer(ASK, |_, number| Err(Failure::new(format!("{number} is too few"))));
    fails_empty.answer(ASK, |_, _| Err(Failure::new("")));
    let cases = [
        (none, "No handler registered for 'ask'", 1),
        (fails, "0 is too few", 0),
        (fails_empty, "", 0),
    ];
    for (stage, why, unhandled) in cases {
        let window = stage.play_with(asks, &["1"]);
        assert_eq!(
            stage.run_to_the_end(),
            [format!("Error invoking remote method 'ask': Error: {why}")]
        );
        assert_eq!(window.counters().unhandled, unhandled);
    }
}

#[test]
fn a_handlers_error_keeps_its_type() {
    let stage = Stage::new();
    stage.answer(DIVIDE, |_, [left, right]| match right {
        0 => Err(DivideError::ByZero),
        _ => left.checked_div(*right).ok_or(DivideError::Overflow),
    });
    // The scene compares the values; here are the texts.
    stage.play(|ipc| {
        assert_eq!(ipc.invoke(DIVIDE, &[7, 2]).unwrap().wait(), Ok(3));
        for (arguments, expected) in
            [([1, 0], DivideError::ByZero), ([i64::MIN, -1], DivideError::Overflow)]
        {
            let error = ipc.invoke(DIVIDE, &arguments).unwrap().wait().unwrap_err();
            ipc.report(&error);
            assert_eq!(error, InvokeError::Handler { channel: "divide", error: expected });
        }
    });
    assert_eq!(
        stage.run_to_the_end(),
        [
            "Error invoking remote method 'divide': division by zero",
            "Error invoking remote method 'divide': overflow",
        ]
    );
}

#[test]
fn a_handler_that_panics_fails_its_call_and_main_goes_on() {
    const TEXT: &str = "Error invoking remote method 'ask': Error: the handler panicked";
    fn check(number: u64) -> u64 {
        assert_ne!(number, 1, "this panic is part of the test");
        number
    }
    let stages = [(); 4].map(|()| Stage::new());
    let [at_once, deferred, before_the_future, in_the_future] = &stages;
    at_once.answer(ASK, |_, number| Ok(check(*number)));
    deferred.answer_later(ASK, |_, number, responder| _ = responder.reply(&check(*number)));
    before_the_future.answer_async(ASK, |_, number| {
        let number = check(number);
        async move { Ok(number) }
    });
    in_the_future.answer_async(ASK, |_, number| async move { Ok(check(number)) });
    for stage in &stages {
        stage.play_with(asks, &["3"]);
        assert_eq!(stage.run_to_the_end(), ["0", TEXT, "2"]);
    }
}

#[test]
fn a_responder_that_is_dropped_tells_the_caller_that_no_reply_was_sent() {
    const TEXT: &str = "Error invoking remote method 'ask': reply was never sent";
    let stages = [(); 3].map(|()| Stage::new());
    let [dropped, dropped_elsewhere, never_woken] = &stages;
    dropped.answer_later(ASK, |_, _, _| ());
    dropped_elsewhere.answer_later(ASK, |_, _, responder| _ = thread::spawn(|| drop(responder)));
    // A future that nobody can wake will never answer either.
    never_woken.answer_async(ASK, |_, _| std::future::pending());
    for stage in &stages {
        stage.play_with(asks, &["2"]);
        assert_eq!(stage.run_to_the_end(), [TEXT, TEXT]);
    }
}

#[test]
fn arguments_that_are_no_value_of_their_type_are_the_callers_error_and_are_counted() {
    let stage = Stage::new();
    let flags = stage.notes(FLAG);
    stage.answer(NEGATE, |_, flag| Ok(!flag));
    let window = stage.play(|ipc| {
        // By name and schema these are the test's channels `flag` and `negate`.
        const INVALID: Event<Lie<1>> = Event::new("flag");
        const TOO_LONG: Event<Lie<9>> = Event::new("flag");
        ipc.send(INVALID, &Lie).unwrap();
        ipc.send(TOO_LONG, &Lie).unwrap();
        ipc.send(FLAG, &true).unwrap();

        const NEGATE_INVALID: Method<Lie<1>, bool> = Method::new("negate");
        const NEGATE_NOTHING: Method<Lie<0>, bool> = Method::new("negate");
        ipc.report(ipc.invoke(NEGATE_INVALID, &Lie).unwrap().wait().unwrap_err());
        ipc.report(ipc.invoke(NEGATE_NOTHING, &Lie).unwrap().wait().unwrap_err());
        assert_eq!(ipc.invoke(NEGATE, &true).unwrap().wait(), Ok(false));
    });
    assert_eq!(
        stage.run_to_the_end(),
        [
            "Error invoking remote method 'negate': bad arguments: expected bool, got 1 bytes that are no valid value of it",
            "Error invoking remote method 'negate': bad arguments: expected bool, got 0 bytes",
        ]
    );
    assert_eq!(flags.take(), [true], "the two lies reached nobody");
    assert_eq!(window.counters().bad_payloads, 4);
}

// --- handlers come and go ------------------------------------------------------------------------

#[test]
fn a_once_handler_is_removed_before_it_runs_and_the_next_invoke_in_the_queue_finds_none() {
    let stage = Stage::new();
    stage.ipc.handle_once(ASK, double).unwrap();
    stage.play_with(asks_all_at_once, &["2"]);
    assert_eq!(
        stage.run_to_the_end(),
        ["0: 0", "1: Error invoking remote method 'ask': Error: No handler registered for 'ask'",]
    );
}

#[test]
fn a_once_handler_may_register_its_successor_from_inside() {
    let stage = Stage::new();
    let ipc = stage.ipc.clone();
    let once = stage.ipc.handle_once(ASK, move |_, _| {
        ipc.handle(ASK, |_, _| Ok(2)).map_err(Failure::new)?;
        Ok(1)
    });
    once.unwrap();
    stage.play_with(asks_all_at_once, &["3"]);
    assert_eq!(stage.run_to_the_end(), ["0: 1", "1: 2", "2: 2"]);
}

#[test]
fn removing_a_handler_is_silent_when_there_is_none_and_calls_under_way_still_reply() {
    let stage = Stage::new();
    stage.ipc.remove_handler(ASK);
    let kept = Notes::new();
    stage.answer_later(ASK, keeping(&kept));
    let window = stage.play(asks_and_stays);
    stage.run_until("the first call", || kept.len() == 1);
    stage.ipc.remove_handler(ASK);
    stage.ipc.remove_handler(ASK);
    window.send(CUE, "").unwrap();
    stage.run_until("the second call is refused", || window.counters().unhandled == 1);
    for (number, responder) in kept.take() {
        assert!(responder.reply(&(number + 100)));
    }
    assert_eq!(
        stage.run_to_the_end(),
        ["Error invoking remote method 'ask': Error: No handler registered for 'ask'", "101"]
    );
}

// --- order and number of replies -----------------------------------------------------------------

#[test]
fn replies_go_in_any_order() {
    let stage = Stage::new();
    let kept = Notes::new();
    stage.answer_later(ASK, keeping(&kept));
    stage.play_with(asks_all_at_once, &["8"]);
    stage.run_until("eight calls", || kept.len() == 8);
    for (number, responder) in kept.take().into_iter().rev() {
        assert!(responder.reply(&(number * 10)));
    }
    assert_eq!(
        stage.run_to_the_end(),
        ["7: 70", "6: 60", "5: 50", "4: 40", "3: 30", "2: 20", "1: 10", "0: 0"]
    );
}

#[test]
fn replies_come_from_any_thread() {
    let stage = Stage::new();
    stage.answer_later(ASK, |_, number, responder| {
        let number = *number;
        thread::spawn(move || assert!(responder.reply(&number)));
    });
    stage.play_with(asks_from_several_threads, &["3", "200"]);
    stage.run_to_the_end();
}

#[test]
fn async_handlers_overlap() {
    let stage = Stage::new();
    // Each call waits until the one after it has come; the last one for nobody.
    let wakers = Notes::<(u64, Waker)>::new();
    let (waiting, arrived) = (wakers.clone(), Notes::new());
    stage.answer_async(ASK, move |_, number| {
        arrived.add(number);
        for (_, waker) in waiting.take() {
            waker.wake();
        }
        let (waiting, arrived) = (waiting.clone(), arrived.clone());
        std::future::poll_fn(move |context| {
            if arrived.len() == 4 {
                return Poll::Ready(Ok(number));
            }
            waiting.add((number, context.waker().clone()));
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
fn each_invoke_runs_its_handler_once_and_gets_one_reply() {
    let stage = Stage::new();
    let handled = Notes::new();
    let notes = handled.clone();
    stage.answer(ASK, move |_, number| {
        notes.add(*number);
        Ok(*number)
    });
    // The scene checks each reply, and that none was stale.
    let window = stage.play_with(asks_from_several_threads, &["4", "500"]);
    stage.run_to_the_end();
    let mut handled = handled.take();
    handled.sort_unstable();
    assert!(handled.into_iter().eq(0..2000));
    assert_eq!(window.counters().invokes_received, 2000);
}

// --- deadlines and cancels -----------------------------------------------------------------------

#[test]
fn the_handler_sees_the_deadline_and_an_invoke_without_a_reply_ends_by_it() {
    let stage = Stage::new();
    let timeouts = Notes::new();
    let (notes, kept, cancelled) = (timeouts.clone(), Notes::new(), Notes::new());
    let (keep, cancelling) = (kept.clone(), cancelled.clone());
    stage.answer_later(ASK, move |event, number, responder| {
        assert_eq!(event.timeout(), responder.timeout());
        notes.add((event.timeout(), responder.deadline()));
        if *number == 0 {
            responder.reply(number);
        } else {
            let cancelling = cancelling.clone();
            responder.on_cancel(move || cancelling.add(Instant::now()));
            keep.add(responder);
        }
    });
    let window = stage.play(|ipc| {
        for timeout in [Some(Duration::from_millis(500)), Some(Duration::from_secs(3600)), None] {
            assert_eq!(ipc.invoke_with(ASK, &0, timeout).unwrap().wait(), Ok(0));
        }
        let in_vain = ipc.invoke_with(ASK, &1, Some(Duration::from_millis(50))).unwrap().wait();
        ipc.report(outcome(in_vain));
        assert_eq!(ipc.invoke(ASK, &0).unwrap().wait(), Ok(0), "the next one is not disturbed");
        assert_eq!(ipc.counters().timed_out, 1);
    });
    assert_eq!(stage.run_to_the_end(), ["no reply to 'ask' within 50ms"]);

    let timeouts = timeouts.take();
    let asked = [Some(500), Some(3_600_000), None, Some(50), Some(30_000)];
    assert_eq!(timeouts.len(), asked.len());
    for ((timeout, deadline), asked) in timeouts.into_iter().zip(asked) {
        let asked = asked.map(Duration::from_millis);
        assert_eq!((timeout.is_some(), deadline.is_some()), (asked.is_some(), asked.is_some()));
        if let (Some(timeout), Some(asked)) = (timeout, asked) {
            // It travels as a number with four significant bits, rounded up.
            assert!((asked..=asked + asked / 8).contains(&timeout), "{asked:?} became {timeout:?}");
        }
    }
    assert_eq!(cancelled.len(), 1);
    let responder = kept.take().pop().expect("one was kept");
    assert!(responder.is_cancelled());
    assert!(!responder.reply(&1), "nobody waits for it any more");
    let counters = window.counters();
    assert_eq!((counters.cancelled, counters.late_replies), (1, 1));
}

#[test]
fn dropping_an_invocation_reaches_the_handler() {
    let stage = Stage::new();
    let (kept, cancelled) = (Notes::new(), Notes::new());
    stage.answer_later(ASK, keeping(&kept));
    let window = stage.play(asks_and_gives_up);
    stage.run_until("the call", || kept.len() == 1);
    let (_, responder) = kept.take().pop().expect("one was kept");
    let notes = cancelled.clone();
    responder.on_cancel(move || notes.add(()));
    assert!(!responder.is_cancelled());
    window.send(CUE, "give up").unwrap();
    stage.run_until("the cancel", || cancelled.len() == 1);
    assert!(responder.is_cancelled());
    let again = cancelled.clone();
    responder.on_cancel(move || again.add(()));
    assert_eq!(cancelled.len(), 2, "a callback that comes too late is called at once");
    assert!(!responder.reply(&1));
    window.send(CUE, "end").unwrap();
    stage.run_to_the_end();
    let counters = window.counters();
    assert_eq!((counters.cancelled, counters.late_replies), (1, 1));
}

#[test]
fn a_handlers_future_is_dropped_where_it_stands_when_the_caller_gives_up() {
    struct Dropped(Notes<()>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.add(());
        }
    }
    let stage = Stage::new();
    let (dropped, wakers) = (Notes::new(), Notes::new());
    let (notes, keep) = (dropped.clone(), wakers.clone());
    stage.answer_async(ASK, move |_, _| {
        let (guard, keep) = (Dropped(notes.clone()), keep.clone());
        async move {
            let _guard = guard;
            std::future::poll_fn::<(), _>(|context| {
                keep.add(context.waker().clone());
                Poll::Pending
            })
            .await;
            Ok(0)
        }
    });
    let window = stage.play(asks_and_gives_up);
    stage.run_until("the call", || wakers.len() == 1);
    assert!(dropped.is_empty());
    window.send(CUE, "give up").unwrap();
    stage.run_until("the future is dropped", || dropped.len() == 1);
    for waker in wakers.take() {
        waker.wake();
    }
    window.send(CUE, "end").unwrap();
    stage.run_to_the_end();
}

#[test]
fn a_wait_with_a_timeout_gives_the_invocation_back_still_under_way() {
    let stage = Stage::new();
    let kept = Notes::new();
    stage.answer_later(ASK, keeping(&kept));
    stage.play(|ipc| {
        let mut asked = ipc.invoke(ASK, &1).unwrap();
        let mut looks = 0;
        let result = loop {
            match asked.wait_timeout(Duration::from_millis(20)) {
                Ok(result) => break result,
                Err(still_under_way) => asked = still_under_way,
            }
            looks += 1;
            if looks == 2 {
                ipc.report("looked twice");
            }
        };
        assert!(looks >= 2);
        ipc.report(outcome(result));
    });
    stage.run_until_reported("looked twice");
    for (_, responder) in kept.take() {
        assert!(responder.reply(&5));
    }
    assert_eq!(stage.run_to_the_end(), ["looked twice", "5"]);
}

// --- ways to wait --------------------------------------------------------------------------------

#[test]
fn inside_a_listener_a_wait_is_refused_and_a_callback_works() {
    let stage = Stage::new();
    stage.answer(ASK, double);
    stage
        .play(|ipc| {
            let results = Notes::new();
            let (inside, notes) = (ipc.clone(), results.clone());
            ipc.hear(CUE, move |_, _| {
                notes.add(outcome(inside.invoke(ASK, &1).unwrap().wait()));
                let polled = inside.poll().expect_err("the loop runs this listener");
                notes.add(polled.to_string());
                let notes = notes.clone();
                inside.invoke(ASK, &2).unwrap().then(move |result| notes.add(outcome(result)));
            });
            ipc.run_until("three results", || results.len() == 3);
            for result in results.take() {
                ipc.report(result);
            }
        })
        .send(CUE, "")
        .unwrap();
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
    stage.answer(ASK, |_, number| Ok(*number));
    stage.play(|ipc| {
        ipc.drive_in_background().unwrap();
        let sum = block_on(async {
            let mut sum = 0;
            for number in 0..100 {
                sum += ipc.invoke(ASK, &number).unwrap().await.unwrap();
            }
            sum
        });
        assert_eq!(sum, 4950);
        // Beside the driver one can also wait in the plain way.
        assert_eq!(ipc.invoke(ASK, &7).unwrap().wait(), Ok(7));
    });
    stage.run_to_the_end();
}

// --- main invokes a renderer ---------------------------------------------------------------------

#[test]
fn main_invokes_a_renderer_and_gets_values_and_errors_as_a_renderer_does() {
    let stage = Stage::new();
    let window = stage.play(answers);
    stage.run_until_reported("ready");
    let add = |left, right| window.invoke(ADD, &[left, right], PATIENCE).unwrap();
    assert_eq!(add(2, 3).wait(), Ok(5));
    assert_eq!(window.invoke(ASK, &21, PATIENCE).unwrap().wait(), Ok(42));
    let bytes = pattern(20_000);
    assert_eq!(window.invoke(ECHO, &bytes, PATIENCE).unwrap().wait(), Ok(bytes));
    assert_eq!(
        window.invoke(DIVIDE, &[1, 0], PATIENCE).unwrap().wait(),
        Err(InvokeError::Handler { channel: "divide", error: DivideError::ByZero })
    );
    let refused = window.invoke(READ, "x", PATIENCE).unwrap().wait().unwrap_err();
    assert_eq!(refused.to_string(), "Error invoking remote method 'read': Error: no file x");
    assert_eq!(
        window.invoke(NEGATE, &true, PATIENCE).unwrap().wait(),
        Err(InvokeError::NoHandler { channel: "negate" })
    );

    // Several at once, settled while the loop runs for something else.
    let sums = Notes::new();
    for number in 0..50 {
        let notes = sums.clone();
        add(number, number).then(move |sum| notes.add(sum.unwrap()));
    }
    stage.run_until("fifty sums", || sums.len() == 50);
    assert!(sums.take().into_iter().eq((0..50).map(|number| number * 2)));
    window.send(CUE, "end").unwrap();
    stage.run_to_the_end();
}

#[test]
fn inside_a_listener_of_main_a_wait_is_refused_and_a_callback_works() {
    let stage = Stage::new();
    let results = Notes::new();
    let notes = results.clone();
    let asking = stage.play(answers);
    stage.run_until_reported("ready");
    let asked = asking.clone();
    let once = stage.ipc.once(NUMBER, move |event, _| {
        assert_ne!(event.sender(), asked);
        notes.add(asked.invoke(ADD, &[1, 1], PATIENCE).unwrap().wait());
        let notes = notes.clone();
        let asking = asked.clone();
        asked.invoke(ADD, &[1, 1], PATIENCE).unwrap().then(move |sum| {
            notes.add(sum);
            asking.send(CUE, "end").unwrap();
        });
    });
    once.unwrap();
    stage.play_with(sends_numbers, &["1"]);
    stage.run_to_the_end();
    assert_eq!(results.take(), [Err(InvokeError::InsideListener { channel: "add" }), Ok(2)]);
}

#[test]
fn a_renderer_that_does_not_answer_costs_main_its_deadline_and_hears_of_it() {
    let stage = Stage::new();
    let window = stage.play(answers_never);
    stage.run_until_reported("ready");
    let timeout = Duration::from_millis(50);
    let began = Instant::now();
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
        let sum = window.invoke(ADD, &[number, 1], PATIENCE).unwrap().wait().unwrap();
        responder.reply(&(sum * 2))
    });
    stage.play(|ipc| {
        let (sender, receiver) = mpsc::channel();
        ipc.answer(ADD, move |_, [left, right]| {
            sender.send(()).unwrap();
            Ok(left + right)
        });
        // Main answers this only after it has got an answer of ours.
        assert_eq!(ipc.invoke(ASK, &20).unwrap().wait(), Ok(42));
        receiver.recv_timeout(LIMIT).expect("it was handled before");
    });
    stage.run_to_the_end();
    assert!(answering.join().unwrap());
}

// --- renderers and main processes ---------------------------------------------------------------

/// Drops an invocation when main has it, and stays until main has seen that.
fn asks_and_gives_up(ipc: &Renderer) {
    let cues = ipc.cues();
    let given_up = ipc.invoke(ASK, &1).unwrap();
    cues.wait();
    drop(given_up);
    cues.wait();
}

/// Arguments: THREADS TIMES.
fn asks_from_several_threads(ipc: &Renderer) {
    let times = ipc.number(1);
    thread::scope(|scope| {
        for thread in 0..ipc.number(0) {
            let ipc = &ipc;
            scope.spawn(move || {
                for number in 0..times {
                    let asked = thread * times + number;
                    assert_eq!(ipc.invoke(ASK, &asked).unwrap().wait(), Ok(asked));
                }
            });
        }
    });
    let counters = ipc.counters();
    assert_eq!((counters.stale_replies, counters.timed_out), (0, 0));
}

/// Bytes that pretend to be a `bool`.
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

/// Handles main's invokes in each of the ways that there are, until main's sign.
fn answers(ipc: &Renderer) {
    let cues = ipc.cues();
    ipc.answer(ADD, |_, [left, right]| Ok(left + right));
    assert!(ipc.handle(ADD, |_, _| Ok(0)).is_err());
    ipc.answer(READ, |_, path| Err(Failure::new(format!("no file {path}"))));
    ipc.answer_later(ASK, |event, number, responder| {
        assert!(event.timeout().is_some(), "main always gives a deadline");
        let number = *number;
        thread::spawn(move || responder.reply(&(number * 2)));
    });
    ipc.answer_async(ECHO, |_, bytes| async move { Ok(bytes) });
    ipc.answer(DIVIDE, |_, [left, right]| left.checked_div(*right).ok_or(DivideError::ByZero));
    ipc.report("ready");
    cues.wait();
}
