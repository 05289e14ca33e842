//! Faults of hosts, and what they do.
use crate::{
    host::{HostId, Read, SocketId, UdpId},
    net::{Core, Net},
    transcript::Tag,
};
use core::{net::IpAddr, time::Duration};
use sansbox_core::Instant;

/// How a host dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Its program ends; the kernel closes what was open: FIN, or RST where bytes are unread.
    Process,
    /// The machine is gone: nothing is answered any more.
    Power,
    /// The same; so much later the kernel is back, without the program, and answers what still
    /// arrives with RST.
    Reboot(Duration),
}

/// What is done to a host from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostFault {
    /// Its program stands still; the kernel goes on.
    Suspend,
    /// The whole machine stands still: what arrives is lost, or comes again later.
    Sleep,
    /// It goes on after either.
    Resume,
    /// Its clock is so much further ahead from now on; timers follow it.
    ClockJump(Duration),
    /// Its clock runs so much faster from now on, in millionths, or slower if negative.
    ClockDrift(i32),
    /// It dies.
    Crash(Crash),
    /// Its program is started again after it died, on a kernel that knows no connection.
    Restart,
    /// It reads at most so many octets in this time from now on; `None`: as fast as it can.
    SlowReader(Option<(usize, Duration)>),
    /// It may hold at most so many sockets from now on: dials and binds are refused, connections
    /// wait to be accepted. `None`: as many as it wants.
    FileLimit(Option<usize>),
    /// It loses an address: what is sent from or to it is gone.
    LoseAddress(IpAddr),
    /// It gets an address.
    GainAddress(IpAddr),
}

/// How fast a host reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlowReader {
    octets: usize,
    every: Duration,
    left: usize,
    refill_at: Instant,
}

impl SlowReader {
    pub(crate) const fn new(now: Instant, octets: usize, every: Duration) -> Self {
        Self {
            octets,
            every,
            left: octets,
            refill_at: now,
        }
    }

    /// How much may be read now, or when some can be again.
    pub(crate) fn may_read(&mut self, now: Instant) -> Result<usize, Instant> {
        if now >= self.refill_at {
            self.left = self.octets.max(1);
            self.refill_at = now + self.every.max(Duration::from_nanos(1));
        }
        if self.left == 0 {
            return Err(self.refill_at);
        }
        Ok(self.left)
    }

    pub(crate) fn read(&mut self, read: &Read) {
        if let Read::Bytes(bytes) = read {
            self.left = self.left.saturating_sub(bytes.len());
        }
    }
}

impl Net {
    /// What a fault does to the kernel of a host; what it does to the program is the world's.
    pub(crate) fn host_fault(&mut self, host: HostId, fault: HostFault) {
        self.core
            .note_text(host, Tag::Fault, 0, format_args!("{fault:?}"));
        let now = self.core.now;
        match fault {
            HostFault::Suspend => {}
            HostFault::Sleep => self.core.set_deaf(host, true),
            HostFault::Resume => self.core.set_deaf(host, false),
            HostFault::ClockJump(ahead) => self.core.clock_mut(host, |c| c.jump(now, ahead)),
            HostFault::ClockDrift(drift) => self.core.clock_mut(host, |c| c.set_drift(now, drift)),
            HostFault::Crash(how) => self.crash(host, how),
            HostFault::Restart => {
                self.core.set_deaf(host, false);
                self.tcp.rebooted(host);
            }
            HostFault::SlowReader(pace) => self.core.set_slow_reader(
                host,
                pace.map(|(octets, every)| SlowReader::new(now, octets, every)),
            ),
            HostFault::FileLimit(limit) => self.core.set_files_max(host, limit),
            HostFault::LoseAddress(ip) => {
                self.core.remove_address(host, ip);
                self.tcp.cut_address(&mut self.core, host, ip);
            }
            HostFault::GainAddress(ip) => self.core.add_address(host, ip),
        }
    }

    fn crash(&mut self, host: HostId, how: Crash) {
        self.flows.crashed();
        let core = &mut self.core;
        let sockets: Vec<SocketId> = self.tcp.sockets(host);
        for socket in sockets {
            match how {
                Crash::Process => self.tcp.close(core, socket),
                Crash::Power | Crash::Reboot(_) => self.tcp.vanish(core, socket),
            }
        }
        self.tcp.forget_host(core, host, how == Crash::Process);
        let sockets: Vec<UdpId> = self.udp.sockets(host);
        for socket in sockets {
            self.udp.unbind(socket);
        }
        self.names.forget_host(host);
        match how {
            Crash::Process => {}
            Crash::Power => core.set_deaf(host, true),
            Crash::Reboot(after) => {
                core.set_deaf(host, true);
                core.queue
                    .push(core.now + after, crate::event::Event::Rebooted(host));
            }
        }
    }

    /// The kernel of a crashed host is back, and knows nothing.
    pub(crate) fn rebooted(&mut self, host: HostId) {
        self.core
            .note_text(host, Tag::Fault, 0, format_args!("Rebooted"));
        self.core.set_deaf(host, false);
        self.tcp.rebooted(host);
    }
}

impl Core {
    /// May a host that holds so many sockets open one more?
    pub(crate) fn has_file(&self, host: HostId, open: usize) -> bool {
        self.files_max(host).is_none_or(|max| open < max)
    }
}
