//! Facts about processes from `/proc`.

use std::{path::Path, time::Duration};

use procfs::{
    Current, Meminfo,
    process::{FDTarget, MMapPath, Process, Stat, Status, Task},
};

/// The folder of all segments, and the beginning of their names.
pub(crate) const SEGMENTS: &str = "/dev/shm/ringbridge-";

fn process(process_id: u32) -> Option<Process> {
    Process::new(process_id as i32).ok()
}

fn tasks(process_id: u32) -> impl Iterator<Item = Task> {
    let tasks = process(process_id).and_then(|process| process.tasks().ok());
    tasks.into_iter().flatten().flatten()
}

fn this() -> Process {
    Process::myself().expect("proc is mounted")
}

pub fn stat(process_id: u32) -> Option<Stat> {
    process(process_id)?.stat().ok()
}

pub fn exists(process_id: u32) -> bool {
    process(process_id).is_some()
}

pub fn is_alive(process_id: u32) -> bool {
    stat(process_id).is_some_and(|stat| !matches!(stat.state, 'Z' | 'X'))
}

/// Returns whether the process was killed, even if it has not ended yet.
pub fn is_killed(process_id: u32) -> bool {
    const KILL: u64 = 1 << (9 - 1);
    let killed = |status: &Status| (status.sigpnd | status.shdpnd) & KILL != 0;
    !is_alive(process_id) || statuses_of_threads(process_id).iter().any(killed)
}

pub fn is_stopped(process_id: u32) -> bool {
    stat(process_id).is_some_and(|stat| stat.state == 'T')
}

/// The processor time that a process has used, in user mode and in the kernel.
pub fn processor_time(process_id: u32) -> Duration {
    let times = tasks(process_id).filter_map(|task| task.schedstat().ok());
    Duration::from_nanos(times.map(|time| time.sum_exec_runtime).sum())
}

pub fn command_line(process_id: u32) -> Vec<String> {
    process(process_id).and_then(|process| process.cmdline().ok()).unwrap_or_default()
}

/// The children of a process and their children, even as zombies.
pub fn descendants(process_id: u32) -> Vec<u32> {
    let all = procfs::process::all_processes().expect("proc is mounted");
    let all = all.flatten().filter_map(|process| process.stat().ok());
    let pairs: Vec<_> = all.map(|stat| (stat.ppid as u32, stat.pid as u32)).collect();
    let mut found = vec![process_id];
    let mut next = 0;
    while let Some(&of) = found.get(next) {
        found.extend(pairs.iter().filter(|(parent, _)| *parent == of).map(|(_, child)| *child));
        next += 1;
    }
    found.split_off(1)
}

pub fn statuses_of_threads(process_id: u32) -> Vec<Status> {
    tasks(process_id).filter_map(|task| task.status().ok()).collect()
}

fn status_of_this_thread() -> Status {
    let thread = this().task_from_tid(rustix::thread::gettid().as_raw_pid());
    thread.and_then(|thread| thread.status()).expect("this thread runs")
}

/// The number of times that this thread has blocked in the kernel.
pub fn voluntary_switches() -> u64 {
    status_of_this_thread().voluntary_ctxt_switches.expect("the kernel counts them")
}

pub fn voluntary_switches_of(process_id: u32) -> u64 {
    let status = process(process_id).and_then(|process| process.status().ok());
    status.and_then(|status| status.voluntary_ctxt_switches).expect("the kernel counts them")
}

/// The number of times that this thread has lost its processor to another thread.
pub fn preemptions() -> u64 {
    status_of_this_thread().nonvoluntary_ctxt_switches.expect("the kernel counts them")
}

/// The number of minor page faults of this process.
pub fn page_faults() -> u64 {
    this().stat().expect("proc is mounted").minflt
}

pub fn threads() -> usize {
    threads_of(std::process::id())
}

pub fn threads_of(process_id: u32) -> usize {
    tasks(process_id).count()
}

/// The threads of a process that enter events of the portable backend, two for each session. Without a session they are
/// those that a process left behind when it died inside an event.
pub fn threads_in_events_of(process_id: u32) -> usize {
    const NAMES: [&str; 2] = ["ringbridge-ring", "ringbridge-hear"];
    let names = tasks(process_id).filter_map(|task| Some(task.stat().ok()?.comm));
    names.filter(|name| NAMES.contains(&name.as_str())).count()
}

pub fn open_descriptors() -> usize {
    open_descriptors_of(std::process::id())
}

pub fn open_descriptors_of(process_id: u32) -> usize {
    process(process_id).and_then(|process| process.fd_count().ok()).unwrap_or(0)
}

/// The memory of this process, in bytes: what it may address, and what is resident.
pub fn memory() -> (u64, u64) {
    let sizes = this().statm().expect("proc is mounted");
    (sizes.size * procfs::page_size(), sizes.resident * procfs::page_size())
}

pub fn resident_memory() -> u64 {
    memory().1
}

/// The resident memory of a process, in bytes.
pub fn resident_memory_of(process_id: u32) -> u64 {
    let sizes = process(process_id).and_then(|process| process.statm().ok());
    sizes.map_or(0, |sizes| sizes.resident * procfs::page_size())
}

pub fn total_memory() -> u64 {
    Meminfo::current().expect("proc is mounted").mem_total
}

/// The mappings of a process whose path is like this, with their addresses.
pub fn mappings(process_id: u32, is_like: impl Fn(&str) -> bool) -> Vec<(u64, String)> {
    let maps = process(process_id).and_then(|process| process.maps().ok());
    let named = maps.into_iter().flatten().filter_map(|map| match map.pathname {
        MMapPath::Path(path) => Some((map.address.0, path.to_string_lossy().into_owned())),
        MMapPath::Other(name) => Some((map.address.0, name)),
        _ => None,
    });
    named.filter(|(_, path)| is_like(path)).collect()
}

pub fn is_of_the_library(path: &str) -> bool {
    path.contains("memfd:ringbridge") || path.contains(SEGMENTS)
}

pub fn mappings_of_the_library() -> usize {
    mappings(std::process::id(), is_of_the_library).len()
}

/// The descriptors of this process whose target's name contains this.
pub fn descriptors_of(name: &str) -> Vec<i32> {
    let descriptors = this().fd().expect("proc is mounted").flatten();
    let of_name = descriptors.filter(|descriptor| match &descriptor.target {
        FDTarget::Path(path) => path.to_string_lossy().contains(name),
        FDTarget::AnonInode(kind) | FDTarget::Other(kind, _) => kind.contains(name),
        FDTarget::MemFD(memory) => memory.contains(name),
        _ => false,
    });
    of_name.map(|descriptor| descriptor.fd).collect()
}

/// The numbers of descriptors and mappings of attachments in this process.
pub fn attachments_of_this_process() -> (usize, usize) {
    const NAME: &str = "ringbridge-attachment";
    let mapped = mappings(std::process::id(), |path| path.contains(NAME));
    (descriptors_of(NAME).len(), mapped.len())
}

pub fn executable(process_id: u32) -> Option<std::path::PathBuf> {
    process(process_id)?.exe().ok()
}

/// Returns whether the processor is of this model, or the model is unknown.
pub fn is_processors_model(model: &str) -> bool {
    let cpus = procfs::CpuInfo::current().expect("proc is mounted");
    model == "unknown" || cpus.model_name(0) == Some(model)
}

pub fn host_name() -> String {
    let name = std::fs::read_to_string(Path::new("/proc/sys/kernel/hostname"));
    name.expect("proc is mounted").trim().to_owned()
}
