//! The way into a portable endpoint: a segment with its name, which main makes and each renderer opens.
//!
//! Only the process that holds the endpoint's lock makes or removes it, so there is one main process at a time. The
//! directory lists the segments. So the next main process finds and removes the leftovers of a killed one, but never
//! anything of a process that runs.

use std::{
    fmt, fs, io, thread,
    time::{Duration, Instant},
};

use crate::{
    config::Backend,
    os::process::{self, Inherited},
    peer::Side,
    portable::{
        event_threads::{Sleepers, settle},
        mailbox::{MAIL_CAPACITY, Mailbox},
        name::SegmentName,
        named::{self, Segment},
        poller::HubPoller,
        processes::Processes,
        rendezvous::{CLAIMS, DIRECTORY_LEN, DirectoryPage, SESSION_LEN, SessionPage},
        segments::{self, NamedMemory, Segments},
        watcher::{Signs, Watcher},
    },
    primitives::Arc,
    session::{
        control_channel::ControlChannel,
        error::{BindError, ConnectError},
        joining::not_mapped,
        transport::{LaunchedProcess, Leftovers, Meeting, Poller, Transport},
    },
    shm::{
        backing::Backing,
        region::{Access, Region, RegionError},
        shared::{OutboxMemory, Shared},
    },
    wire::identity::IdentityError,
};

/// The time between two looks for main's answer. There is nothing to sleep on before there is a session.
const ANSWER_LOOK_EVERY: Duration = Duration::from_micros(500);
/// The time between two looks whether main lives.
const LIFE_LOOK_EVERY: Duration = Duration::from_millis(25);
/// The longest wait of a renderer for a free claim.
const CLAIM_WAIT_MAX: Duration = Duration::from_secs(2);

/// The environment variable that holds the name of a launched renderer's session page.
const VARIABLE: &str = "RINGBRIDGE_SEGMENT";

/// The transport of processes that share only names.
pub(crate) struct Names;

impl Transport for Names {
    fn backend(&self) -> Backend {
        Backend::Portable
    }

    fn bind(&self, name: &str) -> Result<Arc<dyn Meeting>, BindError> {
        let hub = Hub::create(name);
        hub.map(|hub| Arc::new(hub) as Arc<dyn Meeting>)
            .map_err(|source| BindError::Io { endpoint: name.to_owned(), source })
    }

    fn connect(&self, name: &str, timeout: Duration) -> Result<ControlChannel, ConnectError> {
        let page = open_directory(directory_of(name), name)?;
        let session = ask_for_session(&page, timeout)?;
        join(page, directory_of(name).sibling(session))
    }

    fn finds(&self, name: &str) -> bool {
        Segment::open(directory_of(name), DIRECTORY_LEN).is_ok()
    }

    fn variable(&self) -> &'static str {
        VARIABLE
    }

    fn inherit(&self, value: &str) -> Result<ControlChannel, ConnectError> {
        let name = SegmentName::parse(value).ok_or(ConnectError::NotLaunched)?;
        let page = open_directory(name.sibling(0), value).map_err(|error| match error {
            // Main has ended meanwhile.
            ConnectError::NoSuchEndpoint { .. } | ConnectError::Stale { .. } => {
                ConnectError::HungUp
            }
            error => error,
        })?;
        join(page, name)
    }

    fn sweep(&self, name: &str) -> io::Result<Option<Leftovers>> {
        let name = directory_of(name);
        let mut swept = match Segment::open(name, DIRECTORY_LEN) {
            Ok(segment) => {
                let page = Arc::new(segment).shared::<DirectoryPage>();
                if main_lives(&page, &mut Processes::new()?) {
                    return Ok(None);
                }
                // A main process that has left has removed them itself, or was about to.
                segments::sweep(name, &page.segments)
            }
            // Its maker died before it had its size, or it is something else. It lists no segments.
            Err(RegionError::Size { .. }) => Leftovers::default(),
            Err(error) if error.is_removed() => return Ok(Some(Leftovers::default())),
            Err(error) => return Err(error.into()),
        };
        if let Some(bytes) = named::remove(name)? {
            swept.segments += 1;
            swept.bytes += bytes;
        }
        Ok(Some(swept))
    }

    /// Finds directories whose main process is dead, where segments are files.
    fn orphans(&self) -> Vec<String> {
        let Ok(files) = fs::read_dir("/dev/shm") else { return Vec::new() };
        let Ok(mut processes) = Processes::new() else { return Vec::new() };
        let directories = files.filter_map(|file| {
            let name = format!("/{}", file.ok()?.file_name().to_str()?);
            SegmentName::parse(&name).filter(|name| name.number() == 0)
        });
        let endpoint = |name: SegmentName| {
            let page = Arc::new(Segment::open(name, DIRECTORY_LEN).ok()?).shared::<DirectoryPage>();
            page.check_identity().ok()?;
            let is_dead = !processes.is_running(page.main.who()?);
            page.endpoint().filter(|endpoint| is_dead && directory_of(endpoint) == name)
        };
        directories.filter_map(endpoint).collect()
    }
}

// --- main's side ---------------------------------------------------------------------------------

/// Main's side of an endpoint.
struct Hub {
    page: Shared<DirectoryPage>,
    sleepers: Arc<Sleepers>,
    segments: Arc<Segments>,
    watcher: Watcher,
    directory: Arc<Segment>,
}

impl Hub {
    /// Makes the directory. The caller holds the endpoint's lock, and has swept it.
    fn create(endpoint: &str) -> io::Result<Self> {
        let name = directory_of(endpoint);
        let directory = Arc::new(Segment::create(name, DIRECTORY_LEN)?);
        directory.reserve()?;
        let page = directory.shared::<DirectoryPage>();
        let table = page.clone().map(|page| &page.segments[..]);
        let segments = Arc::new(Segments::new(name, table));
        let (presence, door) = (page.clone().map(|page| &*page.main), page.clone());
        let sleepers = Arc::new(Sleepers::default());
        let watcher = Watcher::start(presence, sleepers.clone(), move || door.is_knocked_at())?;
        page.initialise(endpoint);
        Ok(Self { page, sleepers, segments, watcher, directory })
    }

    /// Makes a session's page and rings for packets, and opens main's end.
    fn open_session(&self) -> io::Result<Mailbox> {
        let backing = self.backing();
        let ring = || -> io::Result<_> {
            let len = Region::ring_len(MAIL_CAPACITY);
            let ring = Region::create(&backing, "mail", len, Access::Write)?;
            Ok((outbox(&ring), ring.handle().of_kind::<NamedMemory>()?.name.number()))
        };
        let ((own, own_number), (peer, peer_number)) = (ring()?, ring()?);
        let segment = Arc::new(self.segments.create(SESSION_LEN)?);
        segment.reserve()?;
        let page = segment.shared::<SessionPage>();
        let renderer = Signs::Presence(page.clone().map(|page| &*page.renderer));
        let (watcher, sleepers) = (self.watcher.clone(), self.sleepers.clone());
        let mailbox = Mailbox::new(Side::Main, segment, [own, peer], renderer, watcher, sleepers)?;
        page.initialise([own_number, peer_number]);
        Ok(mailbox)
    }
}

impl Meeting for Hub {
    fn backing(&self) -> Backing {
        Backing::new(self.segments.clone())
    }

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
            // Some may be of dead renderers.
            let mut processes = Processes::new()?;
            for claim in &self.page.claims {
                if let Some(pid) = claim.holder().filter(|pid| processes.started(*pid).is_none()) {
                    claim.give_back(pid);
                }
            }
        }
        Ok(None)
    }

    fn tie(&self) -> io::Result<(ControlChannel, Inherited)> {
        let mailbox = self.open_session()?;
        let value = mailbox.page_name().to_string();
        Ok((mailbox.into(), Inherited { variable: VARIABLE, value, descriptor: None }))
    }

    fn poller(&self) -> io::Result<Box<dyn Poller>> {
        Ok(Box::new(HubPoller::new(self.page.clone(), self.sleepers.clone())))
    }

    fn ring(&self) {
        self.sleepers.wake();
    }

    fn look_after(&self, pid: u32) -> io::Result<LaunchedProcess> {
        Ok(LaunchedProcess(Box::new(self.watcher.watch(Signs::Child { pid }))))
    }

    fn settle(&self) {
        settle(&self.sleepers);
    }

    /// Removes all names, so that another main process can bind the endpoint. Mappings stay.
    fn close(&self) {
        self.page.main.leave();
        self.segments.close();
        // Last: the others are found by it, should this process die meanwhile.
        self.directory.remove_name();
    }
}

// --- a renderer's side ---------------------------------------------------------------------------

/// Takes a claim, knocks, and returns the number of the session's page from main's answer.
fn ask_for_session(page: &DirectoryPage, timeout: Duration) -> Result<u32, ConnectError> {
    let pid = std::process::id();
    let (began, mut looked) = (Instant::now(), Instant::now());
    let mut processes = Processes::new()?;
    let mut wait = |limit: Duration| {
        thread::sleep(ANSWER_LOOK_EVERY);
        if looked.elapsed() >= LIFE_LOOK_EVERY {
            looked = Instant::now();
            if !main_lives(page, &mut processes) {
                return Err(ConnectError::HungUp);
            }
        }
        if began.elapsed() < limit { Ok(()) } else { Err(ConnectError::TimedOut(limit)) }
    };
    let claim = loop {
        match page.claims.iter().find(|claim| claim.take(pid)) {
            Some(claim) => break claim,
            None => wait(timeout.min(CLAIM_WAIT_MAX))?,
        }
    };
    // Main's watcher sees it.
    claim.knock(pid);
    loop {
        if let Some(session) = claim.answered(pid) {
            return Ok(session);
        }
        wait(timeout).inspect_err(|_| claim.give_back(pid))?;
    }
}

/// Joins the session that main has made for this process.
fn join(
    directory: Shared<DirectoryPage>,
    page_name: SegmentName,
) -> Result<ControlChannel, ConnectError> {
    let segment = Arc::new(Segment::open(page_name, SESSION_LEN).map_err(not_mapped)?);
    let page = segment.shared::<SessionPage>();
    page.check_identity().map_err(not_a_session)?;
    let ring = |number| {
        let len = Region::ring_len(MAIL_CAPACITY);
        let ring = Region::open(page_name.sibling(number).into(), len, Access::Write);
        ring.map(|ring| outbox(&ring)).map_err(not_mapped)
    };
    let [mains, own] = page.mail();
    let rings = [ring(own)?, ring(mains)?];
    let main = Signs::Presence(directory.map(|directory| &*directory.main));
    let sleepers = Arc::new(Sleepers::default());
    let presence = page.map(|page| &*page.renderer);
    let watcher = Watcher::start(presence, sleepers.clone(), || false)?;
    Ok(Mailbox::new(Side::Renderer, segment, rings, main, watcher, sleepers)?.into())
}

/// Opens a directory whose main process lives.
fn open_directory(
    name: SegmentName,
    endpoint: &str,
) -> Result<Shared<DirectoryPage>, ConnectError> {
    let endpoint = || endpoint.to_owned();
    let page = match Segment::open(name, DIRECTORY_LEN) {
        Ok(segment) => Arc::new(segment).shared::<DirectoryPage>(),
        // Of size 0, main is making it at this moment.
        Err(error)
            if error.is_removed() || matches!(error, RegionError::Size { actual: 0, .. }) =>
        {
            return Err(ConnectError::NoSuchEndpoint { endpoint: endpoint() });
        }
        Err(error) => return Err(not_a_session(error)),
    };
    match page.check_identity() {
        Ok(()) if main_lives(&page, &mut Processes::new()?) => Ok(page),
        Ok(()) => Err(ConnectError::Stale { endpoint: endpoint() }),
        Err(IdentityError::Magic { found: 0 }) => {
            Err(ConnectError::NoSuchEndpoint { endpoint: endpoint() })
        }
        Err(error) => Err(not_a_session(error)),
    }
}

fn not_a_session(why: impl fmt::Display) -> ConnectError {
    ConnectError::BadAnswer(why.to_string())
}

// --- both sides ----------------------------------------------------------------------------------

/// Returns whether the main process of a directory runs, and has not left it.
fn main_lives(page: &DirectoryPage, processes: &mut Processes) -> bool {
    !page.main.has_left() && page.main.who().is_some_and(|main| processes.is_running(main))
}

fn outbox(region: &Region) -> OutboxMemory {
    region.outbox().expect("a ring's length")
}

fn directory_of(endpoint: &str) -> SegmentName {
    SegmentName::directory(process::user_id(), endpoint)
}
