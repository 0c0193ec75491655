//! What the kernel says of a process: memory, descriptors, sleeps, processor time.

use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
};

use rustix::{
    io::Errno,
    time::{ClockId, clock_gettime},
};

/// Memory of a process but for its program's own pages, which all have in common. Pages that several map
/// are divided among them, so that it adds up over processes.
pub(super) fn memory_kib(process_id: u32) -> io::Result<u64> {
    let path = format!("/proc/{process_id}/smaps_rollup");
    Ok(field(&path, "Pss_Anon:")? + field(&path, "Pss_Shmem:")?)
}

/// How many descriptors this process has open.
pub(super) fn open_descriptors() -> io::Result<u64> {
    Ok(fs::read_dir("/proc/self/fd")?.count() as u64)
}

/// Times that the threads of a process went to sleep in the kernel by themselves, but for one thread.
pub(super) fn voluntary_switches(process_id: u32, but_for: Option<u32>) -> io::Result<u64> {
    over_threads(process_id, but_for, |thread| {
        field(format!("{thread}/status"), "voluntary_ctxt_switches:")
    })
}

/// Nanoseconds on a processor, of all threads but one.
pub(super) fn processor_ns(process_id: u32, but_for: Option<u32>) -> io::Result<u64> {
    over_threads(process_id, but_for, |thread| {
        let text = fs::read_to_string(format!("{thread}/schedstat"))?;
        let first = text.split_whitespace().next().and_then(|word| word.parse().ok());
        first.ok_or_else(|| malformed(thread))
    })
}

/// Nanoseconds that this thread has had a processor.
pub(super) fn own_processor_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn over_threads(
    process_id: u32,
    but_for: Option<u32>,
    read: impl Fn(&str) -> io::Result<u64>,
) -> io::Result<u64> {
    let but_for = but_for.map(|thread| thread.to_string());
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{process_id}/task"))? {
        let path = thread?.path();
        if path.file_name().and_then(|name| name.to_str()) != but_for.as_deref() {
            sum += match read(&path.to_string_lossy()) {
                // It has ended meanwhile: its file is gone, or can be read no more.
                Err(error) if error.kind() == ErrorKind::NotFound => 0,
                Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => 0,
                figure => figure?,
            };
        }
    }
    Ok(sum)
}

fn field(path: impl AsRef<Path>, name: &str) -> io::Result<u64> {
    let text = fs::read_to_string(&path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| malformed(&path.as_ref().to_string_lossy()))
}

fn malformed(path: &str) -> io::Error {
    io::Error::other(format!("{path} is not as expected"))
}

#[cfg(test)]
mod tests {
    use std::process::id;

    use super::*;

    #[test]
    fn a_process_has_memory_descriptors_and_a_past() {
        assert!(memory_kib(id()).unwrap() > 10);
        assert!(open_descriptors().unwrap() >= 3);
        assert!(processor_ns(id(), None).unwrap() > 0);
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(voluntary_switches(id(), None).unwrap() > 0);
        assert!(own_processor_ns() > 0);
    }
}
