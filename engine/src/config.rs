//! The settings of an endpoint.

use std::time::Duration;

use crate::{contract::error::ContractError, wake::adaptive::WaitStrategy, wire::CELL};

/// The least and the most that a ring may hold, in bytes.
const CAPACITY_MIN: usize = 4096;
const CAPACITY_MAX: usize = 1 << 30;
const _: () = assert!(CAPACITY_MIN.is_multiple_of(CELL));

/// How the processes of an endpoint share memory, find and wake each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// Memory that only one process can write, which the kernel enforces; sockets, futexes, eventfds. For renderers
    /// that nobody trusts. Linux only.
    #[default]
    Sealed,
    /// Named segments and events (the crates `shared_memory` and `raw_sync`), for processes that **trust each other**:
    /// each can write all of it. No descriptor is handed over, and it needs neither memfd nor futex.
    /// `docs/portable.md` compares the two backends.
    #[cfg(feature = "portable")]
    Portable,
}

/// The settings of an [`IpcMain`](crate::IpcMain) or an [`IpcRenderer`](crate::IpcRenderer).
///
/// Capacities are main's to decide, since it makes all memory; a renderer's are not looked at.
///
/// ```
/// use ringbridge::{Config, WaitStrategy};
/// let config = Config { wait: WaitStrategy::Spin, ..Config::default() };
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// How the processes of the endpoint share memory. Main and those who attach must mean the same one; who is
    /// launched learns it from main. Where the platform has no [`Backend::Sealed`], it is [`Backend::Portable`].
    pub backend: Backend,
    /// Whether to refuse to work with a backend that does not keep the processes' memory apart.
    pub require_isolation: bool,
    /// How this process waits for messages.
    pub wait: WaitStrategy,
    /// The longest that [`WaitStrategy::Adaptive`] spins in one wait before it sleeps: about what a wake-up
    /// costs the two sides together, so that it never loses more than it could have won. Shorter saves CPU
    /// time, longer saves the wake-ups of pauses up to it. (It is also for how long a renderer may be
    /// awake before and after a push that comes by a clock; a tenth of the period, if that is longer.)
    pub spin_ceiling: Duration,
    /// The ring from main to each renderer, in bytes: a power of two. A payload longer than a little
    /// less than half of it is sent by attachment: see [`attachment_max`](Self::attachment_max).
    pub main_capacity: usize,
    /// The ring from each renderer to main, in bytes: a power of two.
    pub renderer_capacity: usize,
    /// The ring of each topic, in bytes: a power of two. The longest payload is a little less than a
    /// quarter of it.
    pub topic_capacity: usize,
    /// The longest payload, in bytes, where that is longer than the ring carries: such a payload
    /// travels in memory of its own. It is also how many bytes may be on their way to one
    /// renderer at once in that manner. 0: no attachments. (What one renderer may send is limited
    /// by its [`Policy`](crate::Policy::attachment_bytes_max) too.)
    pub attachment_max: usize,
    /// How many bytes of such memory main keeps for each renderer when they are not in use, so that
    /// the next large payload for it finds some. A payload that finds none costs page faults, about
    /// twice the time of a copy.
    pub attachment_pool_max: usize,
    /// Whether the memory of rings and topics is there, and mapped in this process, before a session
    /// begins. So no message takes a page fault, of which a ring's first lap has one for each page. With
    /// main's `false` a ring takes no memory before it is used: better with thousands of renderers of which
    /// most are silent. (What a renderer is set to counts for its own mapping.)
    pub prefault: bool,
    /// How long a `send` waits for room. (In main's loop none does.)
    pub send_timeout: Duration,
    /// How long an `invoke` waits for its reply, unless it says otherwise.
    pub invoke_timeout: Duration,
    /// How long a renderer waits for main's part of the handshake.
    pub handshake_timeout: Duration,
    /// How long a renderer may take nothing that main has sent it before
    /// [`IpcMain::on_unresponsive`](crate::IpcMain::on_unresponsive) says so. It says so up to a quarter of this
    /// later, and no more than a second. Electron's is 30 s too.
    pub unresponsive_after: Duration,
    /// How many windows there may be at once.
    pub windows_max: usize,
    /// How many invokes of main may be unanswered in one renderer.
    pub main_pending_max: u16,
    /// Keeps other processes of this user out of main's memory (`ptrace`, `/proc/PID/mem`). Off for
    /// debugging and profiling only. Linux only: elsewhere it changes nothing.
    pub protect_memory: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            backend: Backend::default(),
            require_isolation: false,
            wait: WaitStrategy::default(),
            spin_ceiling: Duration::from_micros(50),
            main_capacity: 256 * 1024,
            renderer_capacity: 256 * 1024,
            topic_capacity: 64 * 1024,
            attachment_max: 1 << 30,
            attachment_pool_max: 64 << 20,
            prefault: true,
            send_timeout: Duration::from_secs(5),
            invoke_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            unresponsive_after: Duration::from_secs(30),
            windows_max: 1024,
            main_pending_max: 256,
            protect_memory: true,
        }
    }
}

impl Config {
    /// The backend that is meant, if this platform and these settings have it.
    pub(crate) fn backend(&self) -> Result<Backend, ContractError> {
        self.backend_where(cfg!(target_os = "linux"))
    }

    fn backend_where(&self, has_sealed: bool) -> Result<Backend, ContractError> {
        if self.backend == Backend::Sealed && has_sealed {
            return Ok(Backend::Sealed);
        }
        self.portable()
    }

    #[cfg(feature = "portable")]
    fn portable(&self) -> Result<Backend, ContractError> {
        if self.require_isolation {
            return Err(ContractError::NoIsolation);
        }
        Ok(Backend::Portable)
    }

    #[cfg(not(feature = "portable"))]
    fn portable(&self) -> Result<Backend, ContractError> {
        Err(ContractError::NoBackend)
    }

    pub(crate) fn check(&self) -> Result<(), ContractError> {
        let capacities = [
            ("main_capacity", self.main_capacity),
            ("renderer_capacity", self.renderer_capacity),
            ("topic_capacity", self.topic_capacity),
        ];
        for (what, value) in capacities {
            if !value.is_power_of_two() || !(CAPACITY_MIN..=CAPACITY_MAX).contains(&value) {
                return Err(ContractError::BadCapacity {
                    what,
                    value,
                    min: CAPACITY_MIN,
                    max: CAPACITY_MAX,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capacity_that_no_ring_can_have_is_refused_by_name() {
        assert_eq!(Config::default().check(), Ok(()));
        for value in [0, 2048, 4097, 1 << 31] {
            let config = Config { topic_capacity: value, ..Config::default() };
            assert!(matches!(
                config.check(),
                Err(ContractError::BadCapacity { what: "topic_capacity", .. })
            ));
        }
    }

    fn chosen(
        has_sealed: bool,
        backend: Backend,
        require_isolation: bool,
    ) -> Result<Backend, ContractError> {
        let config = Config { backend, require_isolation, ..Config::default() };
        config.backend_where(has_sealed)
    }

    #[test]
    fn sealed_memory_is_isolation_enough_where_there_is_any() {
        assert_eq!(chosen(true, Backend::Sealed, false), Ok(Backend::Sealed));
        assert_eq!(chosen(true, Backend::Sealed, true), Ok(Backend::Sealed));
    }

    #[cfg(feature = "portable")]
    #[test]
    fn without_sealed_memory_it_is_the_portable_backend_unless_isolation_is_required() {
        for (has_sealed, backend) in
            [(false, Backend::Sealed), (false, Backend::Portable), (true, Backend::Portable)]
        {
            assert_eq!(chosen(has_sealed, backend, false), Ok(Backend::Portable));
            assert_eq!(chosen(has_sealed, backend, true), Err(ContractError::NoIsolation));
        }
    }

    #[cfg(not(feature = "portable"))]
    #[test]
    fn without_sealed_memory_and_without_the_portable_backend_there_is_none() {
        for require_isolation in [false, true] {
            let chosen = chosen(false, Backend::Sealed, require_isolation);
            assert_eq!(chosen, Err(ContractError::NoBackend));
        }
    }
}
