//! Names, builds and admission: which processes become renderers, and the reasons for a refusal.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use tests::prelude::*;

fn attach_with(name: &str, config: Config) -> Result<(), ConnectError> {
    IpcRenderer::attach_with(name, CONTRACT, config).map(drop)
}

#[test]
fn a_renderer_that_attaches_with_the_other_backend_is_told_so() {
    let stage = Stage::open();
    let backend = match config().backend {
        Backend::Portable => Backend::Sealed,
        _ => Backend::Portable,
    };
    let refused = attach_with(stage.name(), Config { backend, ..config() });
    assert!(matches!(refused, Err(ConnectError::OtherBackend { .. })), "{refused:?}");
    stage.serves_others();
}

#[test]
fn a_bad_name_is_refused_on_both_sides_and_an_unbound_one_is_no_endpoint() {
    let name = unique_name("nobody");
    let refused = attach_with(&name, config()).unwrap_err();
    assert!(matches!(&refused, ConnectError::NoSuchEndpoint { endpoint } if *endpoint == name));
    assert!(refused.to_string().contains(&name));
    let long = "x".repeat(49);
    for name in ["", ".", "..", "a/b", "/tmp/x", "a\0b", "ä", &long] {
        let bound = IpcMain::bind_with(name, CONTRACT, config()).map(drop);
        assert!(matches!(bound, Err(BindError::BadName { .. })), "{name:?}: {bound:?}");
        let attached = attach_with(name, config());
        assert!(matches!(attached, Err(ConnectError::BadName { .. })), "{name:?}: {attached:?}");
    }
}

#[test]
fn a_name_in_use_is_refused_and_stale_when_its_main_is_dead_and_then_free() {
    let scene: ProcessScene = |_| {
        let stage = Stage::new();
        println!("{}", json!({ "event": "bound", "endpoint": stage.name() }));
        stage.ipc.run().unwrap();
    };
    let mut main = Program::start(&mut process(scene, &[]));
    let name = main.lines.next_of("bound")["endpoint"].as_str().unwrap().to_owned();
    let bind = || IpcMain::bind_with(&name, CONTRACT, config());
    let Err(BindError::NameInUse { endpoint }) = bind() else { panic!("it is in use") };
    assert_eq!(endpoint, name);
    main.kill();

    let attached = attach_with(&name, config());
    assert!(matches!(attached, Err(ConnectError::Stale { .. })), "{attached:?}");
    drop(bind().expect("the kernel has dropped the dead process's lock"));
    assert!(endpoint_files(&name).is_empty());
}

#[test]
fn a_process_that_main_did_not_launch_is_told_so() {
    let scene: ProcessScene = |_| {
        assert!(!IpcRenderer::was_launched());
        let refused = IpcRenderer::connect(CONTRACT).map(drop);
        assert!(matches!(refused, Err(ConnectError::NotLaunched)), "{refused:?}");
    };
    assert!(Program::start(&mut process(scene, &[])).end().success());
}

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
    const OURS: &str = "Numbered { sender: u64 @0, number: u32 @8, reserved: u32 @12 } of 16 bytes";
    const THEIRS: &str = "Numbered { sender: u64 @0, number: u64 @8 } of 16 bytes";
    let cases: [(Contract, [&str; 3]); 4] = [
        (&[&TEXT, &LAYOUT], ["numbered", OURS, THEIRS]),
        (&[&ERROR], ["divide", "([i64; 2]) -> i64 or Failure", DIVIDE]),
        (&[&PUSH, &NUMBER], ["blob", "[u64]", "[u8]"]),
        (&[&SETTINGS], ["settings", "Dynamic<alloc::vec::Vec<u8>>", MAP]),
    ];
    assert_eq!(size_of::<other::Numbered>(), size_of::<Numbered>(), "the size alone does not tell");
    let stage = Stage::open();
    for (contract, expected) in cases {
        let refused = stage.attach(contract).map(drop).unwrap_err();
        let text = refused.to_string();
        assert!(expected.iter().all(|part| text.contains(part)), "{text}");
        let ConnectError::TypeMismatch { channel, ours, theirs } = refused else {
            panic!("{refused:?}")
        };
        assert_eq!([channel, ours, theirs], expected);
    }
    assert_eq!(stage.ipc.counters().refused, 4);
    assert!(stage.ipc.windows().is_empty());
    stage.serves_others();
}

#[test]
fn another_build_that_main_launched_is_refused_likewise_and_is_a_failed_launch() {
    let stage = Stage::new();
    let scene: ProcessScene = |_| {
        const NUMBER: Event<u32> = Event::new("number");
        let refused = IpcRenderer::connect(&[&TEXT, &NUMBER]).map(drop);
        let Err(ConnectError::TypeMismatch { channel, ours, theirs }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!([channel, ours, theirs], ["number", "u32", "u64"]);
    };
    let ending = stage.run_until_gone(&stage.play_process(scene, &[]));
    let details = RenderProcessGone { reason: GoneReason::LaunchFailed, exit_code: Some(0) };
    assert_eq!(ending.details, details);
    assert_eq!(stage.ipc.counters().refused, 1);
}

/// The reason why main does not let a renderer attach.
fn refusal(stage: &Stage) -> String {
    let refused = stage.attach(CONTRACT).map(drop);
    let Err(ConnectError::Refused { why }) = refused else { panic!("{refused:?}") };
    why
}

#[test]
fn the_last_admission_hook_decides_and_without_one_or_with_a_panic_no_renderer_may_attach() {
    let stage = Stage::new();
    let why = refusal(&stage);
    assert!(why.contains("admits no renderers"), "{why}");
    assert_eq!(stage.ipc.counters().refused, 1);
    assert!(stage.endings().is_empty(), "a refused process was never a window");
    stage.ipc.on_attach(|candidate| {
        assert_eq!(candidate.process_id(), std::process::id());
        Err("not on a Sunday".to_owned())
    });
    assert_eq!(refusal(&stage), "not on a Sunday");
    stage.ipc.on_attach(|_| panic!("this panic is part of the test"));
    assert!(stage.attach(CONTRACT).is_err());
    stage.ipc.on_attach(|_| Ok(Policy::deny_all()));
    assert!(stage.attach(CONTRACT).is_ok());
}

#[test]
fn a_main_that_does_not_answer_costs_the_renderer_its_time_out() {
    let stage = Stage::open();
    // No thread drives the stage meanwhile.
    let handshake_timeout = Duration::from_millis(50);
    let refused = attach_with(stage.name(), Config { handshake_timeout, ..config() });
    assert!(matches!(refused, Err(ConnectError::TimedOut(waited)) if waited == handshake_timeout));
    stage.serves_others();
}

#[test]
fn the_socket_and_its_folder_are_open_to_this_user_only() {
    let stage = Stage::new();
    for file in endpoint_files(stage.name()) {
        let folder = file.parent().unwrap().metadata().unwrap();
        assert_eq!(folder.permissions().mode() & 0o777, 0o700);
        let file = file.metadata().unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
        assert_eq!(file.uid(), rustix::process::getuid().as_raw());
    }
}
