//! An application's validators refuse messages before any listener or handler gets them.

use tests::prelude::*;

#[test]
fn a_refused_message_reaches_no_listener_and_an_invoke_is_told_why() {
    let stage = Stage::new();
    let (heard, asked, seen) = (stage.notes(NUMBER), Notes::new(), Notes::new());
    let (first, second) = (seen.adding(), seen.adding());
    let lucky = move |event: &IpcMainEvent<'_>, number: &u64| {
        first(event.sender_id());
        if *number == 13 { Err("unlucky".to_owned()) } else { Ok(()) }
    };
    stage.ipc.validate(NUMBER, lucky).unwrap();
    // A message that the first refuses does not reach the second.
    let next = move |event: &IpcMainEvent<'_>, number: &u64| {
        assert_ne!(*number, 13);
        second(event.sender_id());
        Ok(())
    };
    stage.ipc.validate(NUMBER, next).unwrap();

    let note = asked.adding();
    stage.answer(READ, move |_, path| {
        note(path.to_owned());
        Ok(format!("contents of {path}"))
    });
    let below = |path: &str| {
        if path.contains("..") { Err("it leads upwards".to_owned()) } else { Ok(()) }
    };
    stage.ipc.validate(READ, move |_, path| below(path)).unwrap();
    stage.answer(ADD, |_, _| panic!("it is not reached"));
    stage.ipc.validate(ADD, |_, _| panic!("this panic is part of the test")).unwrap();

    let window = stage.play_to_the_end(|ipc| {
        [1, 13, 2, 13, 3].iter().for_each(|number| ipc.send(NUMBER, number).unwrap());
        let refused = ipc.ask(READ, "../secret").unwrap_err();
        let text = "Error invoking remote method 'read': rejected: it leads upwards";
        assert_eq!(refused.to_string(), text);
        let why = "it leads upwards".to_owned();
        assert_eq!(refused, InvokeError::Rejected { channel: "read", why });
        assert_eq!(ipc.ask(READ, "file"), Ok("contents of file".to_owned()));
        let panicked = ipc.ask(ADD, &[1, 2]).unwrap_err();
        assert!(matches!(&panicked, InvokeError::Rejected { why, .. } if why.contains("panicked")));
    });
    assert_eq!(heard.take(), [1, 2, 3]);
    assert_eq!(asked.take(), ["file"]);
    assert_eq!(seen.take(), [window.id(); 8]);
    let counters = window.counters();
    assert_eq!((counters.rejected, counters.panics, counters.violations), (4, 1, 0));
}

#[test]
fn a_refusal_is_a_violation_if_the_policy_says_so() {
    let stage = Stage::new();
    stage.hear(NUMBER, |_, _| ());
    stage.ipc.validate(NUMBER, |_, _| Err("never".to_owned())).unwrap();
    let insists: RendererScene = |ipc| {
        (0..10).for_each(|_| _ = ipc.send(NUMBER, &13));
        let _ = ipc.run_for(Duration::from_secs(60));
    };
    let strict = allow_everything().rejection_is_violation(true);
    let tolerant = strict.clone().on_violation(OnViolation::Tolerate(4));
    for (policy, count) in [(strict, 1), (tolerant, 5)] {
        let window = stage.launch(renderer(insists, &[]), policy);
        let ending = stage.run_until_gone(&window);
        let GoneReason::ProtocolViolation(violation) = &ending.details.reason else {
            panic!("{ending:?}")
        };
        assert!(matches!(violation, Violation::Rejected { .. }));
        assert_eq!(violation.name(), "rejected");
        assert_eq!((ending.counters.rejected, ending.counters.violations), (count, count));
    }
}
