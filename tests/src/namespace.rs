//! Network namespaces: machines of their own on this machine (Linux, as root).
use crate::peers::{is_root, need};
use std::{
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A network namespace with its loopback up; deleted on drop.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    ip: PathBuf,
}

impl Namespace {
    /// A new one, or none after saying why the test is skipped.
    ///
    /// # Panics
    /// When the system refuses although this is root.
    #[must_use]
    pub fn new() -> Option<Self> {
        if !is_root() {
            eprintln!("skipped: network namespaces need root");
            return None;
        }
        let ip = need("ip")?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sansbox-{}-{number}", process::id());
        let made = Command::new(&ip)
            .args(["netns", "add", &name])
            .output()
            .expect("run ip");
        if !made.status.success() {
            // Root of a container without the capability.
            let why = String::from_utf8_lossy(&made.stderr);
            eprintln!("skipped: no network namespaces here: {}", why.trim());
            return None;
        }
        let namespace = Self { name, ip };
        namespace.run("ip link set lo up");
        Some(namespace)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a command, written with single spaces, inside.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(&self, line: &str) {
        let output = Command::new(&self.ip)
            .args(["netns", "exec", &self.name])
            .args(line.split(' '))
            .output()
            .expect("run ip");
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line}: {why}");
    }

    /// Joins two by a cable with an address, such as `198.51.100.1/24`, at each end.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn join(&self, address: &str, other: &Self, other_address: &str) {
        self.cable("wire", other, "wire");
        for (end, address) in [(self, address), (other, other_address)] {
            end.run(&format!("ip addr add {address} dev wire"));
        }
    }

    /// Joins two by a cable without addresses, whose ends have these names.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn cable(&self, name: &str, other: &Self, other_name: &str) {
        self.run(&format!(
            "ip link add {name} type veth peer name {other_name} netns {}",
            other.name
        ));
        self.run(&format!("ip link set {name} up"));
        other.run(&format!("ip link set {other_name} up"));
    }

    /// A command that runs a program inside; its process is the program's own.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(&self.ip);
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs `work` on a thread inside. Sockets it makes stay inside when they are handed out.
    ///
    /// # Panics
    /// When the namespace cannot be entered or `work` panics.
    #[cfg(target_os = "linux")]
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
        use std::{fs::File, os::fd::AsFd as _, thread};

        let path = format!("/run/netns/{}", self.name);
        let file = File::open(&path).unwrap_or_else(|e| panic!("open {path}: {e}"));
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .unwrap_or_else(|e| panic!("enter {path}: {e}"));
                work()
            });
            match thread.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Never reached: there are no namespaces here.
    ///
    /// # Panics
    /// Always.
    #[cfg(not(target_os = "linux"))]
    pub fn enter<T: Send>(&self, _work: impl FnOnce() -> T + Send) -> T {
        panic!("no network namespaces on this system")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new(&self.ip)
            .args(["netns", "del", &self.name])
            .output();
    }
}
