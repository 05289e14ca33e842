//! A subject at work: its device and the clients in one namespace, the upstream in another.
//!
//! ```text
//!  near: clients ─► route 10.77.0.0/24 ─► tun0 ─► subject ─► cable ─► far: SOCKS5 server
//! ```

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::unistd::Pid;

use super::devices::Setting;
use super::net::{Namespace, has_device};
use super::sink::{PORT_ANSWER, Sink};
use super::subject::Subject;
use crate::guard::Guarded;
use crate::load::PATIENCE;
use crate::proxy::tail;
use crate::socks::dial;

/// The TUN device.
pub(super) const DEVICE: &str = "tun0";
/// Its address, of a /30.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 11, 12, 1);
/// The subject's end of the cable.
const NEAR: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// The upstream's end.
pub(super) const FAR: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
/// Where the upstream listens.
pub(super) const SOCKS_PORT: u16 = 1080;
/// Where clients want to go: into the device.
pub(super) const DESTINATION: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const ROUTE: &str = "10.77.0.0/24";

const READY_LIMIT: Duration = Duration::from_secs(15);
const READY_POLL: Duration = Duration::from_millis(10);
/// Longest wait of a visit that tries whether a subject is ready.
const TRY_PATIENCE: Duration = Duration::from_secs(1);

/// A subject that serves. Everything of it is gone when it is dropped: the process first, so that
/// the upstream's connections end.
#[derive(Debug)]
pub(super) struct Stage {
    program: Guarded,
    /// The upstream.
    pub(super) sink: Sink,
    /// Where the device and the clients are.
    pub(super) near: Namespace,
    _far: Namespace,
}

impl Stage {
    /// Starts `subject` and waits until a connection comes through.
    pub(super) fn start(subject: &Subject, setting: Setting<'_>) -> Result<Self> {
        let (near, far) = (Namespace::new()?, Namespace::new()?);
        if let Some(name) = setting.congestion {
            near.set_congestion(name)?;
            far.set_congestion(name)?;
        }
        let folder = setting.folder;
        near.join(NEAR, &far, FAR)?;
        let sink = Sink::start(&far, SocketAddrV4::new(FAR, SOCKS_PORT))?;
        let log = folder.join(format!("tun-{}.log", subject.name));
        let file = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let mut command = subject.command(folder)?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let program = near.inside(|| {
            let name = command.get_program().to_owned();
            Guarded::spawn(&mut command).with_context(|| format!("start {}", name.display()))
        })?;
        let mut this = Self {
            program,
            sink,
            near,
            _far: far,
        };
        this.wait(subject, &log)?;
        Ok(this)
    }

    /// Whose processor time and memory count.
    pub(super) fn pid(&self) -> Pid {
        self.program.pid()
    }

    fn wait(&mut self, subject: &Subject, log: &Path) -> Result<()> {
        let deadline = Instant::now() + READY_LIMIT;
        self.poll(deadline, log, |this| {
            let there = this.near.inside(|| has_device(DEVICE))?;
            there.then_some(()).context("there is no TUN device")
        })?;
        if subject.wants_address() {
            self.near
                .ip(&format!("addr add {ADDRESS}/30 dev {DEVICE}"))?;
        }
        self.poll(deadline, log, |this| {
            this.near.ip(&format!("route replace {ROUTE} dev {DEVICE}"))
        })?;
        self.poll(deadline, log, |this| {
            let visit = this.near.inside(|| Ok(visit(TRY_PATIENCE)?));
            visit.context("no connection comes through")
        })
    }

    /// Tries until it succeeds, the deadline has passed, or the subject has ended.
    fn poll(
        &mut self,
        deadline: Instant,
        log: &Path,
        attempt: impl Fn(&Self) -> Result<()>,
    ) -> Result<()> {
        loop {
            let Err(error) = attempt(self) else {
                return Ok(());
            };
            if let Some(status) = self.program.ended()? {
                bail!("ended at start with {status}: {}", tail(log));
            }
            if Instant::now() >= deadline {
                bail!("not ready after {READY_LIMIT:?}: {error:#}: {}", tail(log));
            }
            thread::sleep(READY_POLL);
        }
    }
}

/// A connection of the calling thread's namespace into the device, to a port of the upstream.
pub(super) fn connect(port: u16, patience: Duration) -> io::Result<TcpStream> {
    dial(SocketAddr::from((DESTINATION, port)), patience)
}

/// A connection, a byte there and back, and RST.
pub(super) fn visit(patience: Duration) -> io::Result<()> {
    let mut stream = connect(PORT_ANSWER, patience)?;
    stream.write_all(&[1])?;
    stream.read_exact(&mut [0])
}

/// The same with the patience of the load generators.
pub(super) fn patient_visit() -> io::Result<()> {
    visit(PATIENCE)
}
