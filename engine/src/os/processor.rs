//! The processor that a thread runs on.

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// Returns the number of this thread's processor, without a system call.
pub(crate) fn current() -> Option<u32> {
    u32::try_from(sched_getcpu()).ok()
}

/// Reads the processor's counter, which a wait can be measured by: a few nanoseconds, without a system call. Its rate
/// is not known, and two processors' counters may disagree. `None` where there is none that a program may read.
#[inline]
pub(crate) fn ticks() -> Option<u64> {
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code, reason = "an instruction without effects")]
    // SAFETY: every x86-64 processor has the instruction.
    return Some(unsafe { std::arch::x86_64::_rdtsc() });
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// Moves this thread away from a processor, if it may run on another one. Returns whether it may.
///
/// The allowed processors are the same afterwards. The thread stays where it moved to as long as timers wake it;
/// a wake-up by another thread may pull it back.
pub(crate) fn leave(number: u32) -> bool {
    let number = number as usize;
    let Ok(allowed) = sched_getaffinity(None) else { return false };
    // The number comes from the peer.
    if number >= CpuSet::MAX_CPU {
        return false;
    }
    let mut others = allowed;
    others.unset(number);
    if others.count() == 0 || others == allowed {
        return false;
    }
    let moved = sched_setaffinity(None, &others).is_ok();
    if moved {
        // It was allowed before, so it fails only if somebody else changed what is allowed.
        let _ = sched_setaffinity(None, &allowed);
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_leaves_a_processor_may_come_back() {
        let allowed = sched_getaffinity(None).unwrap();
        let moved = leave(current().unwrap());
        assert_eq!(moved, allowed.count() > 1);
        assert_eq!(sched_getaffinity(None).unwrap(), allowed);
    }

    #[test]
    fn a_processor_that_does_not_exist_is_not_left() {
        assert!(!leave(CpuSet::MAX_CPU as u32));
        assert!(!leave(u32::MAX));
        let allowed = sched_getaffinity(None).unwrap();
        assert_eq!(sched_getaffinity(None).unwrap(), allowed);
    }
}
