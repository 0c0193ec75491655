//! Who gets in, who does not, and why; and what main makes of those who speak no word of the protocol.

use tests::prelude::*;

// --- names ---------------------------------------------------------------------------------------

#[test]
fn a_name_that_nobody_has_bound_is_no_endpoint() {
    let name = unique_name("nobody");
    let refused = IpcRenderer::attach_with(&name, CONTRACT, config()).map(drop);
    assert!(
        matches!(&refused, Err(ConnectError::NoSuchEndpoint { endpoint }) if *endpoint == name)
    );
    assert!(refused.unwrap_err().to_string().contains(&name));
}

#[test]
fn who_attaches_with_the_other_backend_is_told_so() {
    let stage = Stage::open();
    let other = match config().backend {
        Backend::Portable => Backend::Sealed,
        _ => Backend::Portable,
    };
    let config = Config { backend: other, ..config() };
    let refused = IpcRenderer::attach_with(stage.name(), CONTRACT, config).map(drop);
    assert!(matches!(refused, Err(ConnectError::OtherBackend { .. })), "{refused:?}");
    stage.serves_others();
}

#[test]
fn a_name_that_is_no_name_is_refused_on_both_sides() {
    for name in ["", "..", "a/b", "/tmp/x", "a\0b"] {
        let bound = IpcMain::bind_with(name, CONTRACT, config()).map(drop);
        assert!(matches!(bound, Err(BindError::BadName { .. })), "{name:?}: {bound:?}");
        let attached = IpcRenderer::attach_with(name, CONTRACT, config()).map(drop);
        assert!(matches!(attached, Err(ConnectError::BadName { .. })), "{name:?}: {attached:?}");
    }
}

#[test]
fn a_name_in_use_is_refused_and_stale_when_its_main_is_dead_and_then_free() {
    let mut main = Program::start(&mut process(binds, &[]));
    let name = main.lines.next_of("bound")["endpoint"].as_str().unwrap().to_owned();
    let bind = || IpcMain::bind_with(&name, CONTRACT, config());
    match bind() {
        Err(BindError::NameInUse { endpoint }) => assert_eq!(endpoint, name),
        other => panic!("{other:?}"),
    }
    main.kill();

    let attached = IpcRenderer::attach_with(&name, CONTRACT, config()).map(drop);
    assert!(matches!(attached, Err(ConnectError::Stale { .. })), "{attached:?}");
    let successor = bind().expect("the kernel has dropped the dead one's lock");
    drop(successor);
    assert!(endpoint_files(&name).is_empty());
}

#[test]
fn a_process_that_nobody_launched_is_told_so() {
    let mut program = Program::start(&mut process(was_launched_by_nobody, &[]));
    assert!(program.end().success());
}

// --- builds --------------------------------------------------------------------------------------

#[test]
fn another_build_is_refused_by_the_channels_name_and_both_its_types() {
    mod other {
        ringbridge::payload! {
            /// The same name, another layout.
            pub struct Numbered {
                /// As in the contract.
                pub sender: u64,
                /// Narrower.
                pub number: u32,
                /// A name of its own.
                pub reserved: u32,
            }
        }
    }
    const LAYOUT: Event<other::Numbered> = Event::new("numbered");
    const ERROR: Method<[i64; 2], i64> = Method::new("divide");
    const PUSH: Push<[u64]> = Push::new("blob");
    const SETTINGS: Event<Dynamic<Vec<u8>>> = Event::new("settings");
    const MAP: &str = "Dynamic<alloc::collections::btree::map::BTreeMap<alloc::string::String, alloc::vec::Vec<i64>>>";
    const DIVIDE: &str = "([i64; 2]) -> i64 or DivideError: u32 { ByZero = 0, Overflow = 1 }";
    let layout = "Numbered { sender: u64 @0, number: u32 @8, reserved: u32 @12 } of 16 bytes";
    let cases: [(Contract, [&str; 3]); 4] = [
        (
            &[&TEXT, &LAYOUT],
            ["numbered", layout, "Numbered { sender: u64 @0, number: u64 @8 } of 16 bytes"],
        ),
        (&[&ERROR], ["divide", "([i64; 2]) -> i64 or Failure", DIVIDE]),
        (&[&PUSH, &NUMBER], ["blob", "[u64]", "[u8]"]),
        (&[&SETTINGS], ["settings", "Dynamic<alloc::vec::Vec<u8>>", MAP]),
    ];
    assert_eq!(size_of::<other::Numbered>(), size_of::<Numbered>(), "the size alone does not tell");
    let stage = Stage::open();
    for (contract, expected) in cases {
        let refused = stage.attach(contract).map(drop).unwrap_err();
        let text = refused.to_string();
        let ConnectError::TypeMismatch { channel, ours, theirs } = refused else {
            panic!("{refused:?}")
        };
        assert_eq!([channel.as_str(), &ours, &theirs], expected);
        assert!(expected.iter().all(|part| text.contains(part)), "{text}");
    }
    assert_eq!(stage.ipc.counters().refused, 4);
    assert!(stage.ipc.windows().is_empty());
    stage.serves_others();
}

#[test]
fn another_build_that_main_launched_is_refused_likewise_and_is_a_failed_launch() {
    let stage = Stage::new();
    let window = stage.play_process(
        |_| {
            const NUMBER: Event<u32> = Event::new("number");
            const CONTRACT: Contract = &[&TEXT, &NUMBER];
            match IpcRenderer::connect(CONTRACT).map(drop) {
                Err(ConnectError::TypeMismatch { channel, ours, theirs }) => {
                    assert_eq!([channel, ours, theirs], ["number", "u32", "u64"]);
                }
                other => panic!("{other:?}"),
            }
        },
        &[],
    );
    let ending = stage.run_until_gone(&window);
    assert_eq!(ending.details.reason, GoneReason::LaunchFailed);
    assert_eq!(stage.ipc.counters().refused, 1);
}

#[test]
fn a_contract_in_another_order_or_with_less_in_it_is_no_other_build() {
    const SOME: Contract = &[&NUMBER, &ADD, &TEXT];
    let stage = Stage::open();
    let texts = stage.notes(TEXT);
    let ipc = stage.attach(SOME).unwrap();
    ipc.send(TEXT, "hello").unwrap();
    let sum = ipc.invoke(ADD, &[20, 3]).unwrap();
    let results = Notes::new();
    let result = results.clone();
    sum.then(move |sum| result.add(sum.unwrap()));
    stage.run_until("the reply", || {
        ipc.poll().unwrap();
        !results.is_empty()
    });
    assert_eq!((results.take(), texts.take()), (vec![23], vec!["hello".to_owned()]));
}

/// Why main does not let a renderer attach.
fn refusal(stage: &Stage) -> String {
    match stage.attach(CONTRACT).map(drop) {
        Err(ConnectError::Refused { why }) => why,
        other => panic!("{other:?}"),
    }
}

// --- admission -----------------------------------------------------------------------------------

#[test]
fn without_an_admission_hook_nobody_may_attach() {
    let stage = Stage::new();
    let why = refusal(&stage);
    assert!(why.contains("admits no renderers"), "{why}");
    assert_eq!(stage.ipc.counters().refused, 1);
    assert!(stage.endings().is_empty(), "who was never admitted was never a window");
}

#[test]
fn the_admission_hook_knows_who_comes_and_says_why_not() {
    let stage = Stage::new();
    stage.ipc.on_attach(|candidate| {
        assert_eq!(candidate.process_id(), std::process::id());
        Err("not on a Sunday".to_owned())
    });
    assert_eq!(refusal(&stage), "not on a Sunday");
    stage.ipc.on_attach(|_| Ok(Policy::deny_all()));
    assert!(stage.attach(CONTRACT).is_ok(), "the last hook decides");
}

#[test]
fn an_admission_hook_that_panics_admits_nobody_and_main_goes_on() {
    let stage = Stage::new();
    stage.ipc.on_attach(|_| panic!("this panic is part of the test"));
    let refused = stage.attach(CONTRACT).map(drop);
    assert!(refused.is_err());
    stage.ipc.on_attach(|_| Ok(allow_everything()));
    assert!(stage.attach(CONTRACT).is_ok());
}

#[test]
fn as_many_windows_as_main_allows_and_no_more() {
    let stage = Stage::with(Config { windows_max: 2, ..config() });
    stage.ipc.on_attach(|_| Ok(allow_everything()));
    let _first = stage.attach(CONTRACT).unwrap();
    let second = stage.attach(CONTRACT).unwrap();
    let why = refusal(&stage);
    assert!(why.contains("2 windows"), "{why}");
    drop(second);
    stage.run_until("its place is free", || stage.ipc.windows().len() == 1);
    assert!(stage.attach(CONTRACT).is_ok());
}

#[test]
fn a_main_that_does_not_answer_costs_the_renderer_its_time_out() {
    let stage = Stage::open();
    // Nobody drives the stage meanwhile.
    let timeout = Duration::from_millis(50);
    let settings = Config { handshake_timeout: timeout, ..config() };
    let refused = IpcRenderer::attach_with(stage.name(), CONTRACT, settings).map(drop);
    assert!(matches!(refused, Err(ConnectError::TimedOut(waited)) if waited == timeout));
    stage.serves_others();
}

// --- what strangers see --------------------------------------------------------------------------

#[test]
fn the_socket_and_its_folder_are_this_users_alone() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let stage = Stage::new();
    for file in endpoint_files(stage.name()) {
        let folder = file.parent().unwrap().metadata().unwrap();
        assert_eq!(folder.permissions().mode() & 0o777, 0o700);
        let file = file.metadata().unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
        assert_eq!(file.uid(), rustix::process::getuid().as_raw());
    }
}

// --- renderers and main processes ---------------------------------------------------------------

fn was_launched_by_nobody(_: &Arguments) {
    assert!(!IpcRenderer::was_launched());
    let refused = IpcRenderer::connect(CONTRACT).map(drop);
    assert!(matches!(refused, Err(ConnectError::NotLaunched)), "{refused:?}");
}

/// Has an endpoint, tells its name and waits to be killed.
fn binds(_: &Arguments) {
    let stage = Stage::new();
    println!("{}", serde_json::json!({ "event": "bound", "endpoint": stage.name() }));
    stage.ipc.run().unwrap();
}
