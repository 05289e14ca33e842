//! Network namespaces without a name: they last as long as somebody is inside or holds their file,
//! so that nothing of them outlives the run, however it ends.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::geteuid;

use crate::guard;

const OWN: &str = "/proc/thread-self/ns/net";
const DEVICE: &str = "/dev/net/tun";
/// Of the namespace of the thread that opens it.
const CONGESTION: &str = "/proc/sys/net/ipv4/tcp_congestion_control";
const IP_LIMIT: Duration = Duration::from_secs(10);

/// Why there can be no TUN device, if so.
pub(super) fn check() -> Result<()> {
    if !geteuid().is_root() {
        bail!("the bench `tun` makes network namespaces and TUN devices, which only root may do");
    }
    if let Err(error) = File::options().read(true).write(true).open(DEVICE) {
        bail!("the bench `tun` needs {DEVICE}, which cannot be opened: {error}");
    }
    let mut ip = Command::new("ip");
    guard::output(ip.arg("-Version"), IP_LIMIT)
        .context("the bench `tun` needs `ip` (Debian: iproute2)")?;
    Ok(())
}

/// A network namespace with its loopback up.
#[derive(Debug)]
pub(super) struct Namespace(File);

impl Namespace {
    /// A new one.
    pub(super) fn new() -> Result<Self> {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace")?;
            File::open(OWN).context("hold a network namespace")
        });
        let this = Self(made.join().ok().context("the maker panicked")??);
        this.ip("link set lo up")?;
        Ok(this)
    }

    /// Brings the calling thread inside, for good. What it opens and starts is inside then.
    pub(super) fn enter(&self) -> Result<()> {
        setns(&self.0, CloneFlags::CLONE_NEWNET).context("enter a network namespace")
    }

    /// Does `work` inside.
    pub(super) fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                self.enter()?;
                work()
            });
            worker.join().ok().context("a worker panicked")?
        })
    }

    /// Gives sockets that are opened inside from now on another TCP congestion controller.
    pub(super) fn set_congestion(&self, name: &str) -> Result<()> {
        self.inside(|| {
            fs::write(CONGESTION, name)
                .with_context(|| format!("the kernel has no TCP congestion controller {name:?}"))
        })
    }

    /// Runs `ip` inside, with arguments that are separated by single spaces.
    pub(super) fn ip(&self, arguments: &str) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(arguments.split(' ')).stderr(Stdio::null());
        self.inside(|| guard::output(&mut command, IP_LIMIT))
            .with_context(|| format!("ip {arguments}"))
            .map(drop)
    }

    /// Joins two by a cable, with an address of a /24 at each end.
    pub(super) fn join(
        &self,
        address: Ipv4Addr,
        other: &Self,
        other_address: Ipv4Addr,
    ) -> Result<()> {
        let path = format!("/proc/{}/fd/{}", std::process::id(), other.0.as_raw_fd());
        self.ip(&format!(
            "link add cable type veth peer name cable netns {path}"
        ))?;
        for (end, address) in [(self, address), (other, other_address)] {
            end.ip(&format!("addr add {address}/24 dev cable"))?;
            end.ip("link set cable up")?;
        }
        Ok(())
    }
}

/// Whether the calling thread's namespace has a device of that name.
pub(super) fn has_device(name: &str) -> Result<bool> {
    let table = fs::read_to_string("/proc/thread-self/net/dev").context("list the devices")?;
    Ok(table
        .lines()
        .filter_map(|line| line.split_once(':'))
        .any(|(device, _)| device.trim() == name))
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn namespaces_are_apart_and_joined_by_their_cable_alone() {
        if let Err(why) = check() {
            eprintln!("skipped: {why:#}");
            return;
        }
        let Ok(near) = Namespace::new() else {
            eprintln!("skipped: no network namespaces here");
            return;
        };
        let far = Namespace::new().unwrap();
        let addresses = [Ipv4Addr::new(10, 99, 0, 1), Ipv4Addr::new(10, 99, 0, 2)];
        near.join(addresses[0], &far, addresses[1]).unwrap();
        assert!(near.inside(|| has_device("cable")).unwrap());
        assert!(!has_device("cable").unwrap(), "the machine itself has it");
        let place = SocketAddr::from((addresses[1], 5000));
        let _listener = far.inside(|| Ok(TcpListener::bind(place)?)).unwrap();
        let limit = Duration::from_secs(5);
        assert!(
            near.inside(|| Ok(TcpStream::connect_timeout(&place, limit)?))
                .is_ok()
        );
        assert!(near.ip("addr add nonsense dev cable").is_err());
        let own = fs::read_to_string(CONGESTION).unwrap();
        near.set_congestion("reno").unwrap();
        let read = || Ok(fs::read_to_string(CONGESTION)?);
        assert_eq!(near.inside(read).unwrap().trim(), "reno");
        assert_eq!(far.inside(read).unwrap(), own);
        assert_eq!(read().unwrap(), own, "the machine itself has it");
        assert!(near.set_congestion("nonsense").is_err());
    }
}
