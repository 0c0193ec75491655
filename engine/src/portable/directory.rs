//! The way into a portable endpoint: a segment that has its name, which main makes and each renderer opens.
//!
//! Only who holds the endpoint's lock makes or removes it, so there is one main process at a time. What a killed one
//! has left is found by the name and by the list of segments in the directory, and removed by the next; but never what
//! belongs to a process that runs.

use std::{
    io::{self, ErrorKind},
    thread,
    time::{Duration, Instant},
};

use crate::{
    os::process::{self, Inherited},
    portable::{
        event_threads::Sleepers,
        mailbox::{MAIL_CAPACITY, Mailbox, Parts},
        memory::NamedMemory,
        name::{SegmentName, SegmentPrefix},
        named::{self, Segment, SegmentError},
        poller::HubPoller,
        processes::Processes,
        rendezvous::{CLAIMS, DIRECTORY_LEN, DirectoryPage, SESSION_LEN, SessionPage},
        segments::{self, Segments},
        watcher::{Signs, WatchedProcess, Watcher},
    },
    primitives::Arc,
    session::{
        control_channel::ControlChannel,
        error::{BindError, ConnectError},
        joining::not_mapped,
        transport::{LaunchedProcess, Leftovers, Meeting, Poller},
    },
    shm::{
        backing::Backing,
        region::{Access, Region},
        shared::{OutboxMemory, Shared},
    },
    wire::identity::IdentityError,
};

/// Between two looks whether main has answered: there is nothing to sleep on before there is a session.
const ANSWER_LOOK_EVERY: Duration = Duration::from_micros(500);
/// Between two looks whether main lives, of which nothing else tells who waits for its answer.
const LIFE_LOOK_EVERY: Duration = Duration::from_millis(25);
/// How long a renderer waits for a directory to be finished, or for a claim to be free.
const CLAIM_WAIT_MAX: Duration = Duration::from_secs(2);

/// The environment variable by which a launched renderer learns the name of its session's segment.
pub(super) const VARIABLE: &str = "RINGBRIDGE_SEGMENT";

/// Main's side: the directory, what was made for sessions, and who is looked after.
pub(crate) struct Hub {
    page: Shared<DirectoryPage>,
    /// Main's threads.
    sleepers: Arc<Sleepers>,
    segments: Arc<Segments>,
    watcher: Watcher,
    directory: Arc<Segment>,
}

impl Hub {
    /// Makes the directory. The caller holds the endpoint's lock, and has swept it.
    pub(super) fn create(endpoint: &str) -> Result<Self, BindError> {
        let io = |source| BindError::Io { endpoint: endpoint.to_owned(), source };
        let prefix = prefix(endpoint);
        let directory = Segment::create(&prefix.directory(), DIRECTORY_LEN);
        let directory = Arc::new(directory.map_err(io::Error::from).map_err(io)?);
        directory.reserve().map_err(io)?;
        let page = directory.shared::<DirectoryPage>();
        let table = page.clone().map(|page| &page.segments[..]);
        let segments = Arc::new(Segments::new(prefix, table));
        let (presence, door) = (page.clone().map(|page| &*page.main), page.clone());
        let sleepers = Arc::new(Sleepers::default());
        let watcher = Watcher::start(presence, sleepers.clone(), move || door.is_knocked_at());
        let watcher = watcher.map_err(io)?;
        page.initialise(endpoint);
        Ok(Self { page, sleepers, segments, watcher, directory })
    }

    /// A session's page and rings for packets, and main's end of them.
    fn open_session(&self) -> io::Result<Mailbox> {
        let backing = self.backing();
        let ring = || -> io::Result<Region> {
            Region::create(&backing, "mail", Region::ring_len(MAIL_CAPACITY), Access::Write)
        };
        let (own, peer) = (ring()?, ring()?);
        let segment = Arc::new(self.segments.create(SESSION_LEN)?);
        segment.reserve()?;
        let page = segment.shared::<SessionPage>();
        let number = |ring: &Region| {
            Ok::<_, io::Error>(ring.handle().of_kind::<NamedMemory>()?.name.number())
        };
        let numbers = [number(&own)?, number(&peer)?];
        let parts = Parts { page: page.clone(), segment, own: outbox(&own), peer: outbox(&peer) };
        let mailbox = Mailbox::of_main(parts, &self.watcher, self.sleepers.clone())?;
        page.initialise(numbers);
        Ok(mailbox)
    }

    #[cold]
    fn free_claims_of_the_dead(&self) -> io::Result<()> {
        let mut processes = Processes::new()?;
        for claim in &self.page.claims {
            if let Some(pid) = claim.holder()
                && processes.started(pid).is_none()
            {
                claim.give_back(pid);
            }
        }
        Ok(())
    }
}

impl Meeting for Hub {
    fn backing(&self) -> Backing {
        Backing::new(self.segments.clone())
    }

    /// Lets in a renderer that knocks.
    fn accept(&self) -> io::Result<Option<ControlChannel>> {
        let mut held = 0;
        for claim in &self.page.claims {
            let Some(pid) = claim.knocker() else {
                held += usize::from(claim.holder().is_some());
                continue;
            };
            let mailbox = self.open_session()?;
            claim.answer(pid, mailbox.page_name().number());
            return Ok(Some(mailbox.into()));
        }
        if held > CLAIMS / 2 {
            self.free_claims_of_the_dead()?;
        }
        Ok(None)
    }

    fn tie(&self) -> io::Result<(ControlChannel, Inherited)> {
        let mailbox = self.open_session()?;
        let value = mailbox.page_name().as_str().to_owned();
        Ok((mailbox.into(), Inherited { variable: VARIABLE, value, descriptor: None }))
    }

    fn poller(&self) -> io::Result<Box<dyn Poller>> {
        Ok(Box::new(HubPoller::new(self.page.clone(), self.sleepers.clone())))
    }

    fn ring(&self) {
        self.sleepers.wake();
    }

    fn look_after(&self, pid: u32) -> io::Result<LaunchedProcess> {
        let child = WatchedProcess::new(Signs::Child { pid });
        self.watcher.watch(child.clone());
        Ok(LaunchedProcess(Box::new(child)))
    }

    /// Removes all names, so that another main process can have the endpoint. What is mapped stays until its last
    /// user is gone.
    fn close(&self) {
        self.page.main.leave();
        self.segments.close();
        // Last: by it the others are found, should this process die meanwhile.
        self.directory.remove_name();
    }
}

// --- a renderer's side ---------------------------------------------------------------------------

/// Attaches to the endpoint of this name.
pub(super) fn attach(endpoint: &str, timeout: Duration) -> Result<Mailbox, ConnectError> {
    let prefix = prefix(endpoint);
    let directory = open_directory(&prefix.directory(), endpoint)?;
    let pid = std::process::id();
    let (began, mut looked) = (Instant::now(), Instant::now());
    let mut processes = Processes::new()?;
    let mut wait = |limit: Duration| {
        thread::sleep(ANSWER_LOOK_EVERY);
        if looked.elapsed() >= LIFE_LOOK_EVERY {
            looked = Instant::now();
            if !main_lives(&directory, &mut processes) {
                return Err(ConnectError::HungUp);
            }
        }
        if began.elapsed() < limit { Ok(()) } else { Err(ConnectError::TimedOut(limit)) }
    };
    let claim = loop {
        match directory.claims.iter().find(|claim| claim.take(pid)) {
            Some(claim) => break claim,
            None => wait(timeout.min(CLAIM_WAIT_MAX))?,
        }
    };
    // Main's watcher looks for that.
    claim.knock(pid);
    let session = loop {
        if let Some(session) = claim.answered(pid) {
            break session;
        }
        if let Err(error) = wait(timeout) {
            claim.give_back(pid);
            return Err(error);
        }
    };
    join(directory, prefix.segment(session))
}

/// Whether there is a directory of this name: a main process, or what one has left.
pub(super) fn has_directory(endpoint: &str) -> bool {
    Segment::open(&prefix(endpoint).directory(), DIRECTORY_LEN).is_ok()
}

/// Joins the session that main has made for this process, by the name of its segment.
pub(super) fn launched(segment: &str) -> Result<Mailbox, ConnectError> {
    let name = SegmentName::parse(segment).map_err(|_| ConnectError::NotLaunched)?;
    let directory = open_directory(&name.sibling(0), segment).map_err(|error| match error {
        // Main has ended meanwhile.
        ConnectError::NoSuchEndpoint { .. } | ConnectError::Stale { .. } => ConnectError::HungUp,
        error => error,
    })?;
    join(directory, name)
}

fn join(directory: Shared<DirectoryPage>, page_name: SegmentName) -> Result<Mailbox, ConnectError> {
    let segment = Arc::new(Segment::open(&page_name, SESSION_LEN).map_err(not_opened)?);
    let page = segment.shared::<SessionPage>();
    page.check_identity().map_err(not_a_session)?;
    let [mains, own] = page.mail().map(|number| page_name.sibling(number));
    let ring = |name: SegmentName| {
        let len = Region::ring_len(MAIL_CAPACITY);
        let ring = Region::open(name.into(), len, Access::Write);
        ring.map(|ring| outbox(&ring)).map_err(not_mapped)
    };
    let parts = Parts { page, segment, own: ring(own)?, peer: ring(mains)? };
    let main = Signs::Presence(directory.map(|directory| &*directory.main));
    Ok(Mailbox::of_renderer(parts, main)?)
}

fn open_directory(
    name: &SegmentName,
    endpoint: &str,
) -> Result<Shared<DirectoryPage>, ConnectError> {
    let endpoint = || endpoint.to_owned();
    let nobody = || ConnectError::NoSuchEndpoint { endpoint: endpoint() };
    let page = match Segment::open(name, DIRECTORY_LEN) {
        Ok(segment) => Arc::new(segment).shared::<DirectoryPage>(),
        Err(SegmentError::System(error)) if error.kind() == ErrorKind::NotFound => {
            return Err(nobody());
        }
        // Main is making it in this moment, or making it anew.
        Err(SegmentError::Size { actual: 0, .. } | SegmentError::Replaced) => return Err(nobody()),
        Err(error) => return Err(not_a_session(error)),
    };
    match page.check_identity() {
        Ok(()) => {}
        Err(IdentityError::Magic { found: 0 }) => return Err(nobody()),
        Err(error) => return Err(not_a_session(error)),
    }
    if main_lives(&page, &mut Processes::new()?) {
        Ok(page)
    } else {
        Err(ConnectError::Stale { endpoint: endpoint() })
    }
}

/// Whether the main process of a directory is there, and has not left it.
fn main_lives(page: &DirectoryPage, processes: &mut Processes) -> bool {
    !page.main.has_left() && page.main.who().is_some_and(|main| processes.is_running(main))
}

fn outbox(region: &Region) -> OutboxMemory {
    region.outbox().expect("a ring's length")
}

fn prefix(endpoint: &str) -> SegmentPrefix {
    SegmentPrefix::new(process::user_id(), endpoint)
}

/// Main may have closed the endpoint in this moment, and removed what it had announced.
fn not_opened(error: SegmentError) -> ConnectError {
    match error {
        SegmentError::System(error) if error.kind() == ErrorKind::NotFound => ConnectError::HungUp,
        error => not_a_session(error),
    }
}

fn not_a_session(why: impl std::fmt::Display) -> ConnectError {
    ConnectError::BadAnswer(why.to_string())
}

// --- what is left --------------------------------------------------------------------------------

/// The endpoints of this user of which there is a directory whose main process is dead: by name, for who has lost what
/// else would lead there. Only where segments are files.
pub(super) fn orphans() -> Vec<String> {
    let Ok(files) = std::fs::read_dir("/dev/shm") else { return Vec::new() };
    let Ok(mut processes) = Processes::new() else { return Vec::new() };
    let directories = files.filter_map(|file| {
        let name = format!("/{}", file.ok()?.file_name().to_str()?);
        SegmentName::parse(&name).ok().filter(|name| name.number() == 0)
    });
    let endpoint = |name: SegmentName| {
        let page = Arc::new(Segment::open(&name, DIRECTORY_LEN).ok()?).shared::<DirectoryPage>();
        page.check_identity().ok()?;
        let is_dead = !processes.is_running(page.main.who()?);
        page.endpoint().filter(|endpoint| is_dead && prefix(endpoint).directory() == name)
    };
    directories.filter_map(endpoint).collect()
}

/// Removes what a dead main process has left of an endpoint. The caller holds the endpoint's lock.
pub(super) fn sweep(endpoint: &str) -> io::Result<Option<Leftovers>> {
    let prefix = prefix(endpoint);
    let segment = match Segment::open(&prefix.directory(), DIRECTORY_LEN) {
        Ok(segment) => Arc::new(segment),
        Err(SegmentError::System(error)) if error.kind() == ErrorKind::NotFound => {
            return Ok(Some(Leftovers::default()));
        }
        // Its maker died before it had its size, or something else has the name of ours. It says nothing of others.
        Err(SegmentError::Size { .. }) => {
            return remove_directory(&prefix, Leftovers::default()).map(Some);
        }
        Err(error) => return Err(error.into()),
    };
    let page = segment.shared::<DirectoryPage>();
    if main_lives(&page, &mut Processes::new()?) {
        return Ok(None);
    }
    // Who has left has removed them itself, or was about to.
    remove_directory(&prefix, segments::sweep(&prefix, &page.segments)).map(Some)
}

fn remove_directory(prefix: &SegmentPrefix, mut swept: Leftovers) -> io::Result<Leftovers> {
    if let Some(bytes) = named::remove(&prefix.directory())? {
        swept.segments += 1;
        swept.bytes += bytes;
    }
    Ok(swept)
}
