//! The settings of an endpoint.

use std::time::Duration;

use crate::{contract::error::ContractError, wake::adaptive::WaitStrategy, wire::CELL};

/// The limits of a ring's capacity, in bytes.
const CAPACITY_MIN: usize = 4096;
const CAPACITY_MAX: usize = 1 << 30;
const _: () = assert!(CAPACITY_MIN.is_multiple_of(CELL));

/// The way in which the processes of an endpoint share memory and wake each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// Memory of which the kernel lets one process write each page; sockets, futexes and eventfds. For untrusted
    /// renderers. Linux only.
    #[default]
    Sealed,
    /// Named segments and events (the crates `shared_memory` and `raw_sync`), for processes that **trust each other**:
    /// each can write all of the memory. It needs no descriptors, memfds or futexes. `docs/portable.md` compares
    /// the two backends.
    #[cfg(feature = "portable")]
    Portable,
}

/// The settings of an [`IpcMain`](crate::IpcMain) or an [`IpcRenderer`](crate::IpcRenderer).
///
/// Main makes all memory, so its capacities count; a renderer's are ignored.
///
/// ```
/// use ringbridge::{Config, WaitStrategy};
/// let config = Config { wait: WaitStrategy::Spin, ..Config::default() };
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// The backend. Main and renderers that attach by name must set the same one; a launched renderer gets it from
    /// main. On a platform without [`Backend::Sealed`] it is `Backend::Portable`.
    pub backend: Backend,
    /// Refuses a backend that does not isolate the processes' memory.
    pub require_isolation: bool,
    /// The way in which this process waits for messages.
    pub wait: WaitStrategy,
    /// The longest spin of [`WaitStrategy::Adaptive`] before it sleeps. The default is about the cost of a wake-up
    /// for both sides together. Shorter saves CPU time, longer saves the wake-ups of pauses up to it. It also bounds
    /// the time that a renderer is awake around a periodic push (or a tenth of the period, if that is longer).
    pub spin_ceiling: Duration,
    /// The most time that a renderer with [`WaitStrategy::Adaptive`] is awake around pushes that come by a clock, in
    /// percent of a core. At the default, 100, only [`spin_ceiling`](Self::spin_ceiling) limits it. A lower value
    /// makes frequent pushes cheaper, and more of them find the renderer asleep. 0: it does not predict pushes.
    pub awake_percent_max: u8,
    /// The ring from main to each renderer, in bytes: a power of two. A payload longer than a little
    /// less than half of it is sent by attachment: see [`attachment_max`](Self::attachment_max).
    pub main_capacity: usize,
    /// The ring from each renderer to main, in bytes: a power of two.
    pub renderer_capacity: usize,
    /// The ring of each topic, in bytes: a power of two. The longest payload is a little less than a
    /// quarter of it.
    pub topic_capacity: usize,
    /// The longest payload that is sent by attachment, in memory of its own, in bytes, and the most such bytes on their
    /// way to one renderer. 0: no attachments. [`Policy::attachment_bytes_max`](crate::Policy::attachment_bytes_max)
    /// limits a renderer's own sends.
    pub attachment_max: usize,
    /// The most bytes of such memory that main keeps for each renderer for later payloads. A payload that finds no
    /// kept memory costs page faults, about twice the time of a copy.
    pub attachment_pool_max: usize,
    /// Populates and maps the memory of rings and topics before a session begins, so that no message takes a page
    /// fault. With main's `false` a ring takes no memory before it is used, which suits thousands of mostly silent
    /// renderers. A renderer's own setting counts for its mapping.
    pub prefault: bool,
    /// The longest wait of a `send` for space. In main's loop no `send` waits.
    pub send_timeout: Duration,
    /// The timeout of an `invoke`, unless the call sets one.
    pub invoke_timeout: Duration,
    /// The longest wait of a renderer for main's part of the handshake.
    pub handshake_timeout: Duration,
    /// The time without progress after which [`IpcMain::on_unresponsive`](crate::IpcMain::on_unresponsive) reports a
    /// renderer that has frames to take. The report comes up to a quarter of this later, but at most a second.
    /// Electron's value is 30 s too.
    pub unresponsive_after: Duration,
    /// The most windows at once.
    pub windows_max: usize,
    /// The most unanswered invokes of main in one renderer.
    pub main_pending_max: u16,
    /// Keeps other processes of this user out of main's memory (`ptrace`, `/proc/PID/mem`). Set it to `false` for
    /// debugging and profiling only. It has no effect outside Linux.
    pub protect_memory: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            backend: Backend::default(),
            require_isolation: false,
            wait: WaitStrategy::default(),
            spin_ceiling: Duration::from_micros(50),
            awake_percent_max: 100,
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
        match self.backend {
            Backend::Sealed if has_sealed => Ok(Backend::Sealed),
            #[cfg(feature = "portable")]
            _ if self.require_isolation => Err(ContractError::NoIsolation),
            #[cfg(feature = "portable")]
            _ => Ok(Backend::Portable),
            #[cfg(not(feature = "portable"))]
            _ => Err(ContractError::NoBackend),
        }
    }

    pub(crate) fn check(&self) -> Result<(), ContractError> {
        let capacities = [
            ("main_capacity", self.main_capacity),
            ("renderer_capacity", self.renderer_capacity),
            ("topic_capacity", self.topic_capacity),
        ];
        for (what, value) in capacities {
            let (min, max) = (CAPACITY_MIN, CAPACITY_MAX);
            if !value.is_power_of_two() || !(min..=max).contains(&value) {
                return Err(ContractError::BadCapacity { what, value, min, max });
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
