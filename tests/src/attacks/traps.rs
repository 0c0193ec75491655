//! Folders, links and sockets that an attacker has put at an endpoint's place.
//!
//! The victim is a process of its own, which binds or attaches there.

use std::{
    fs::Permissions,
    os::unix::fs::{PermissionsExt, chown, symlink},
};

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};

use super::*;

#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    door("folder-that-is-a-link", Told("UnsafeFolder"), |_| {
            let trap = Trap::new();
            let elsewhere = trap.root.join("elsewhere");
            fs::create_dir(&elsewhere).expect("it is new");
            symlink(&elsewhere, trap.folder()).expect("it is new");
            trap.tells(binds_in_a_trap, "UnsafeFolder");
            assert_eq!(fs::read_dir(elsewhere).expect("it is there").count(), 0);
        },
        "puts a link to some folder in the place of the folder of endpoints").by(StoppedBy::Library),
    door("folder-that-is-open-to-others", Told("UnsafeFolder"), |_| {
            let trap = Trap::with_folder();
            fs::set_permissions(trap.folder(), Permissions::from_mode(0o777)).expect("it is ours");
            trap.tells(binds_in_a_trap, "UnsafeFolder");
        },
        "makes the folder of endpoints before main does, for everyone to write").by(StoppedBy::Library),
    door("folder-of-another-user", Told("UnsafeFolder"), |_| {
            let trap = Trap::with_folder();
            if can_change_user() {
                give_to_nobody(&trap.folder());
                trap.tells(binds_in_a_trap, "UnsafeFolder");
            }
        },
        "makes the folder of endpoints before main does, and keeps it").by(StoppedBy::Library),
    door("link-in-the-place-of-the-socket", Harmless, |_| {
            let trap = Trap::with_folder();
            let target = trap.root.join("precious");
            fs::write(&target, "precious").expect("it is new");
            symlink(&target, trap.file("sock")).expect("it is new");
            assert_eq!(trap.victim(binds_in_a_trap), "Ok(())");
            assert_eq!(fs::read_to_string(target).expect("it is there"), "precious");
        },
        "puts a link to a file in the place of the socket: the link is replaced, and its target left alone")
        .by(StoppedBy::Library),
    door("folder-in-the-place-of-the-socket", Told("Io"), |_| {
            let trap = Trap::with_folder();
            fs::create_dir(trap.file("sock")).expect("it is new");
            trap.tells(binds_in_a_trap, "Io {");
        },
        "squats at the socket's path with a folder, which nobody can replace").by(StoppedBy::Library),
    door("link-in-the-place-of-the-lock", Told("Io"), |_| {
            let trap = Trap::with_folder();
            let target = trap.root.join("made");
            symlink(&target, trap.file("lock")).expect("it is new");
            trap.tells(binds_in_a_trap, "Io {");
            assert!(!target.exists(), "the link was followed");
        },
        "puts a link in the place of the lock file, so that main would make and lock a file elsewhere")
        .by(StoppedBy::Library),
    door("lock-that-is-held", Told("NameInUse"), |_| {
            let trap = Trap::with_folder();
            let lock = fs::File::create(trap.file("lock")).expect("it is new");
            lock.lock().expect("nobody has it");
            trap.tells(binds_in_a_trap, "NameInUse");
        },
        "holds the lock of a name without being its main process").by(StoppedBy::Library),
    door("listener-of-another-user", Told("ForeignServer"), |_| listener_of_another_user(),
        "listens at the endpoint's path as another user, for renderers to come").by(StoppedBy::Library),
];

fn listener_of_another_user() {
    let trap = Trap::with_folder();
    if !can_change_user() {
        return;
    }
    give_to_nobody(&trap.root);
    give_to_nobody(&trap.folder());
    let socket = trap.file("sock");
    system::fork(|| {
        system::become_nobody();
        let kind = SocketType::SEQPACKET;
        let listener = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
            .expect("descriptors are left");
        let address = SocketAddrUnix::new(&socket).expect("it is short");
        bind(&listener, &address).expect("it is new");
        listen(&listener, 8).expect("it is bound");
        fs::set_permissions(&socket, Permissions::from_mode(0o777)).expect("it is ours");
        until("the trap is taken away", || !socket.exists());
    });
    until("nobody listens", || socket.exists());
    trap.tells(attaches_in_a_trap, "ForeignServer");
    trap.tells(attaches_in_a_trap, &system::NOBODY.to_string());
}

/// A runtime directory of its own. Removed when dropped.
struct Trap {
    root: Folder,
}

const NAME: &str = "trapped";

impl Trap {
    /// Without the folder of endpoints.
    fn new() -> Self {
        Self { root: Folder::new("trap") }
    }

    fn with_folder() -> Self {
        let trap = Self::new();
        fs::create_dir(trap.folder()).expect("it is new");
        fs::set_permissions(trap.folder(), Permissions::from_mode(0o700)).expect("it is ours");
        trap
    }

    fn folder(&self) -> PathBuf {
        self.root.join("ringbridge")
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.folder().join(format!("{NAME}.{kind}"))
    }

    /// Checks that the victim gets this error.
    fn tells(&self, victim: ProcessScene, error: &str) {
        let told = self.victim(victim);
        assert!(told.contains(error), "{told}");
    }

    /// Runs the victim, and returns its result.
    fn victim(&self, scene: ProcessScene) -> String {
        let mut command = process(scene, &[NAME]);
        let output = command.env("XDG_RUNTIME_DIR", &*self.root).output();
        let output = output.expect("it can be started");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("it is text").trim().to_owned()
    }
}

/// Prints that the attack is left out if it is impossible.
fn can_change_user() -> bool {
    let can = system::can_change_user();
    if !can {
        left_out("this attack needs root, to be another user");
    }
    can
}

fn give_to_nobody(path: &Path) {
    chown(path, Some(system::NOBODY), Some(system::NOBODY)).expect("root may");
}

/// Prints the result. Arguments: NAME.
fn binds_in_a_trap(arguments: &Arguments) {
    println!("{:?}", IpcMain::bind(&arguments[0], CONTRACT).map(drop));
}

/// Prints the result. Arguments: NAME.
fn attaches_in_a_trap(arguments: &Arguments) {
    println!("{:?}", IpcRenderer::attach(&arguments[0], CONTRACT).map(drop));
}
