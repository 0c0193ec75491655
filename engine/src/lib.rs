//! Electron's IPC model over shared memory: one privileged **main process**, several untrusted
//! **renderer processes**, and four ways to talk.
//!
//! ```text
//!       renderer process                                        main process
//!  ┌────────────────────────┐                          ┌──────────────────────────────┐
//!  │  IpcRenderer           │      send, invoke        │  IpcMain      on, handle     │
//!  │    send, invoke        │ ───▶ its own memory ───▶ │                              │
//!  │                        │      which main reads    │  WebContents, one a renderer │
//!  │    on, handle          │ ◀─── main's memory ◀──── │    send, invoke              │
//!  │    subscribe           │ ◀─── one topic for all ◀─│  IpcMain      publish        │
//!  └────────────────────────┘      which it reads      └──────────────────────────────┘
//! ```
//!
//! | Electron | Ringbridge | what it does |
//! | --- | --- | --- |
//! | `ipcRenderer.send`, `ipcMain.on` | [`IpcRenderer::send`], [`IpcMain::on`] | renderer to main, one way |
//! | `ipcRenderer.invoke`, `ipcMain.handle` | [`IpcRenderer::invoke`], [`IpcMain::handle`] | renderer to main and back |
//! | `webContents.send`, `ipcRenderer.on` | [`WebContents::send`], [`IpcRenderer::on`] | main to one renderer |
//! | (a loop over windows) | [`IpcMain::publish`], [`IpcRenderer::subscribe`] | main to all, one write |
//! | `contextBridge` | [`Policy`], [`ContextBridge`] | the channels of one renderer, and those of its page |
//!
//! With the sealed backend, the default, each shared page has one writing process, and the kernel enforces that.
//! A renderer cannot write the memory of main or of other renderers, and main checks all bytes that a renderer
//! writes. A message of up to 48 bytes travels in one cache line, without a system call while its receiver is
//! awake.
//!
//! Start with [`Payload`] and [`payload!`] for types of messages, [`Contract`] for channels, [`Config`] for settings,
//! [`Policy`] for a renderer's rights and limits, and [`Counters`] and [`MainMetrics`] for numbers. `docs/` in the
//! repository has a page on each subject, `docs/from-electron.md` each call of Electron's guide, and `engine/examples/`
//! a whole program for each pattern.
//!
//! # A whole program
//!
//! Both processes share the contract; here they are one program, which launches itself.
//!
//! ```no_run
//! use std::{env, process::Command};
//! use ringbridge::{Contract, Event, IpcMain, IpcRenderer, Method, Policy, Push};
//!
//! ringbridge::payload! {
//!     /// The payload of a push.
//!     pub struct Statistics {
//!         /// Counts the pushes.
//!         pub sequence: u64,
//!         /// From 0 to 1.
//!         pub cpu_usage: f32,
//!         /// In whole degrees.
//!         pub celsius: i32,
//!     }
//! }
//!
//! const LOG_MESSAGE: Event<str> = Event::new("log-message");
//! const READ_FILE: Method<str, [u8]> = Method::new("read-file");
//! const STATISTICS: Push<Statistics> = Push::new("statistics");
//! const CONTRACT: Contract = &[&LOG_MESSAGE, &READ_FILE, &STATISTICS];
//!
//! fn main() -> Result<(), ringbridge::Error> {
//!     if IpcRenderer::was_launched() { renderer() } else { main_process() }
//! }
//!
//! fn main_process() -> Result<(), ringbridge::Error> {
//!     let ipc = IpcMain::bind("demo", CONTRACT)?;
//!     ipc.on(LOG_MESSAGE, |event, message| println!("{}: {message}", event.sender()))?;
//!     ipc.handle(READ_FILE, |_event, path| {
//!         std::fs::read(path).map_err(ringbridge::Failure::new)
//!     })?;
//!
//!     let program = env::current_exe().expect("this program has a path");
//!     let policy = Policy::deny_all().allow(LOG_MESSAGE).allow(READ_FILE).allow(STATISTICS);
//!     let window = ipc.launch(Command::new(program), policy)?;
//!     window.send(STATISTICS, &Statistics { sequence: 1, cpu_usage: 0.5, celsius: 40 })?;
//!     ipc.run()?;
//!     Ok(())
//! }
//!
//! fn renderer() -> Result<(), ringbridge::Error> {
//!     let ipc = IpcRenderer::connect(CONTRACT)?;
//!     ipc.on(STATISTICS, |_event, statistics| println!("{}", statistics.cpu_usage))?;
//!     ipc.send(LOG_MESSAGE, "User clicked a button!")?;
//!     let host = ipc.invoke(READ_FILE, "/etc/hostname")?.wait()?;
//!     println!("{} bytes", host.len());
//!     ipc.run()?;
//!     Ok(())
//! }
//! ```
//!
//! # Guarantees
//!
//! - Messages and invokes of one renderer arrive in the order of the calls, and so do pushes to one window.
//!   There is no order across windows, nor between a topic and other channels.
//! - An invoke always settles: by a reply, the handler's error, its deadline, a cancel, or the other side's end.
//!   The handler runs at most once.
//! - Every dropped message is counted: [`Counters`], [`MainCounters`].
//! - Metrics can be read at any time: from inside ([`IpcMain::metrics`], [`WebContents::metrics`]), by another
//!   process of the same user ([`Inspector`]), and with the feature `tracing` as its events.
//! - A panic of a listener or handler is caught and counted. The caller of a handler gets an error.
//!
//! # Limits
//!
//! - An *unsandboxed* process of the same user can reach main's memory through `ptrace` or `/proc`. Main makes itself
//!   non-dumpable, which stops the ordinary ways ([`Config::protect_memory`]). Renderers that run hostile code
//!   belong in a sandbox (`IpcRenderer::sandbox`, with the feature `sandbox`) or under another user.
//! - A session does not survive `fork`: its memory is not mapped in the child.

#![deny(unsafe_code)]
#![cfg_attr(
    loom,
    allow(dead_code, unreachable_pub, reason = "models check the protocols without their users")
)]
#![cfg_attr(
    not(any(target_os = "linux", loom)),
    allow(dead_code, reason = "only the sealed backend uses it")
)]

// For `payload!`, whose paths are the same inside and outside the crate.
extern crate self as ringbridge;

mod config;
#[cfg(not(loom))]
mod context_bridge;
mod contract;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod event_loop;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(not(loom))]
mod inspection;
#[cfg(not(loom))]
mod inspector;
#[cfg(not(loom))]
mod ipc_main;
#[cfg(not(loom))]
mod ipc_renderer;
mod kill_points;
mod metrics;
mod model;
#[cfg_attr(loom, path = "os/modelled.rs")]
mod os;
mod peer;
mod policy;
#[cfg(any(feature = "portable", all(loom, test)))]
mod portable;
mod primitives;
mod ring;
#[cfg(all(feature = "sandbox", target_os = "linux", not(loom)))]
mod sandbox;
#[cfg(not(loom))]
mod session;
mod shm;
mod sync;
#[cfg(not(loom))]
mod ticker;
mod trace;
mod wake;
#[cfg(not(loom))]
mod web_contents;
mod wire;

/// The transports of this build. The first that finds an endpoint is used.
#[cfg(not(loom))]
const TRANSPORTS: &[&dyn session::transport::Transport] = &[
    #[cfg(target_os = "linux")]
    &session::sockets::Sockets,
    #[cfg(feature = "portable")]
    &portable::Names,
];

#[cfg(all(not(target_os = "linux"), not(feature = "portable")))]
compile_error!("on this system memory has names: the feature `portable` is needed");

pub use zerocopy;

#[cfg(all(feature = "kill-points", not(loom)))]
pub use crate::kill_points::{KillPoint, arm as arm_kill_point};

pub use crate::{
    config::{Backend, Config},
    contract::{
        Channel, ChannelKey, ChannelKind, Contract, Event, FromRenderer, Method, Push, Topic,
        payload::{
            DecodeError, Dynamic, EncodeError, Failure, FixedLayout, PAYLOAD_ALIGN_MAX, Payload,
        },
    },
    metrics::{
        MainMetrics, Metric, MetricKind, SessionMetrics, counters::Counters, sleeps::Sleeps,
    },
    peer::router::ListenerId,
    policy::{OnViolation, Policy},
    wake::adaptive::WaitStrategy,
    wire::frame::Violation,
};

#[cfg(all(feature = "sandbox", target_os = "linux", not(loom)))]
pub use crate::sandbox::outcome::{MissingPart, Sandbox, SandboxError, SandboxPart};
#[cfg(not(loom))]
pub use crate::{
    context_bridge::{
        BridgeReply, Conflated, ContextBridge, Exposed, Latest,
        error::{BridgeError, ExposeError},
    },
    contract::error::ContractError,
    error::Error,
    event_loop::error::{LaunchError, RunError},
    inspection::{attach::InspectError, board::WindowState},
    inspector::{InspectedWindow, Inspection, Inspector},
    ipc_main::{
        Candidate, IpcMain, IpcMainEvent, IpcMainInvokeEvent, LaunchOptions, MainCounters,
        RenderProcessGone, RestartPolicy, Restarts,
    },
    ipc_renderer::{IpcRenderer, IpcRendererEvent, IpcRendererInvokeEvent},
    peer::{
        error::{HandlerError, InvokeError, RegisterError, SendAllError, SendError},
        invocation::{Invocation, InvokeResult},
        loan::Loan,
        responder::{Reply, Responder},
    },
    policy::quota::Quota,
    session::{
        endpoint_registry::{EndpointInfo, SweptEndpoint, endpoints, sweep_endpoints},
        error::{BindError, ConnectError, EndpointsError},
        liveness::GoneReason,
    },
    ticker::Ticker,
    web_contents::WebContents,
};

#[cfg(all(feature = "portable", not(loom)))]
pub use crate::portable::{LeftBehind, left_behind};

#[cfg(all(feature = "policy-file", not(loom)))]
pub use crate::policy::file::{PolicyFile, PolicyFileError};

/// The programs in the README and in the guide compile.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../../docs/from-electron.md")]
    struct FromElectron;
    #[doc = include_str!("../../docs/push-or-topic.md")]
    struct PushOrTopic;
    #[doc = include_str!("../../docs/waiting.md")]
    struct Waiting;
    #[doc = include_str!("../../docs/policies.md")]
    #[cfg(feature = "policy-file")]
    struct Policies;
    #[doc = include_str!("../../docs/crashes.md")]
    struct Crashes;
}
