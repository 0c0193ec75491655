//! What an application's validators refuse, nobody hears.

use tests::prelude::*;

#[test]
fn what_a_validator_refuses_reaches_nobody_and_an_invoke_is_told_why() {
    let stage = Stage::new();
    let (heard, asked, seen) = (Notes::new(), Notes::new(), Notes::new());
    let notes = heard.clone();
    stage.hear(NUMBER, move |_, number| notes.add(*number));
    let notes = seen.clone();
    stage
        .ipc
        .validate(NUMBER, move |event, number| {
            notes.add(event.sender_id());
            if *number == 13 { Err("unlucky".to_owned()) } else { Ok(()) }
        })
        .unwrap();
    // Not reached by what the first refuses.
    let notes = seen.clone();
    stage
        .ipc
        .validate(NUMBER, move |event, number| {
            assert_ne!(*number, 13);
            notes.add(event.sender_id());
            Ok(())
        })
        .unwrap();

    let notes = asked.clone();
    stage.answer(READ, move |_, path| {
        notes.add(path.to_owned());
        Ok(format!("contents of {path}"))
    });
    stage
        .ipc
        .validate(READ, |_, path| {
            if path.contains("..") { Err("it leads upwards".to_owned()) } else { Ok(()) }
        })
        .unwrap();
    stage.answer(ADD, |_, _| panic!("it is not reached"));
    stage.ipc.validate(ADD, |_, _| panic!("as the test wants it")).unwrap();

    let window = stage.play(|ipc| {
        for number in [1, 13, 2, 13, 3] {
            ipc.send(NUMBER, &number).unwrap();
        }
        let refused = read(ipc, "../secret").unwrap_err();
        let why = "it leads upwards".to_owned();
        assert_eq!(refused, InvokeError::Rejected { channel: "read", why });
        assert_eq!(
            refused.to_string(),
            "Error invoking remote method 'read': rejected: it leads upwards"
        );
        assert_eq!(read(ipc, "file"), Ok("contents of file".to_owned()));
        let panicked = ipc.invoke(ADD, &[1, 2]).unwrap().wait().unwrap_err();
        assert!(matches!(&panicked, InvokeError::Rejected { why, .. } if why.contains("panicked")));
        ipc.report("done");
    });
    assert_eq!(stage.run_to_the_end(), ["done"]);
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
    let strict = || allow_everything().rejection_is_violation(true);
    let insist = |policy| {
        let window = stage.launch(renderer(insists, &["10"]), policy);
        stage.run_until_gone(&window)
    };
    let reason = |ending: &Ending| ending.details.reason.clone();

    let ending = insist(strict());
    let GoneReason::ProtocolViolation(violation) = reason(&ending) else { panic!("{ending:?}") };
    assert!(matches!(violation, Violation::Rejected { .. }));
    assert_eq!(violation.name(), "rejected");
    assert_eq!((ending.counters.rejected, ending.counters.violations), (1, 1));

    let ending = insist(strict().on_violation(OnViolation::Tolerate(4)));
    assert!(matches!(reason(&ending), GoneReason::ProtocolViolation(_)));
    assert_eq!((ending.counters.rejected, ending.counters.violations), (5, 5));
}

#[test]
fn a_channel_that_the_contract_does_not_have_cannot_be_validated() {
    const UNKNOWN: Event<u64> = Event::new("unknown");
    let stage = Stage::new();
    let refused = stage.ipc.validate(UNKNOWN, |_, _| Ok(()));
    assert_eq!(refused, Err(RegisterError::UnknownChannel { channel: "unknown" }));
}

// --- renderers and main processes ---------------------------------------------------------------

fn read(ipc: &Renderer, path: &str) -> Result<String, InvokeError> {
    ipc.invoke(READ, path).unwrap().wait()
}

/// On what main refuses, each time. Arguments: COUNT.
fn insists(ipc: &Renderer) {
    for _ in 0..ipc.number(0) {
        let _ = ipc.send(NUMBER, &13);
    }
    let _ = ipc.run_for(Duration::from_secs(60));
}
