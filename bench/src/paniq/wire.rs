//! Both ends in processes of their own, over loopback sockets with GSO and GRO.

use std::io::{self, BufRead as _, BufReader, IoSliceMut, Write as _};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant as Clock};

use anyhow::{Context, Result, bail, ensure};
use bytes::BytesMut;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use sansbox_core::Instant;

use super::end::{End, Load};
use super::plain::{Plain, sources};
use super::tunnel::{ClientEnd, ServerEnd};
use crate::args::{Carrier, PaniqEnd};
use crate::guard::{self, Guarded};
use crate::process;

/// What one receiving call has room for, for each of its messages.
const RECEIVE_BYTES: usize = 64 * 1024;
/// Most datagrams of one sending call: together they are no longer than one datagram may be.
const SEGMENTS_MAX: usize = 65_507 / 1500;
/// Of a socket's buffers.
const SOCKET_BYTES: usize = 4 * 1024 * 1024;
/// Until windows have grown.
const WARM_UP: Duration = Duration::from_millis(500);
/// How much longer than the window a process may live.
const GRACE: Duration = Duration::from_secs(15);
/// The longest wait, so that the end of a window is seen.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// What a window gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    /// Bytes, round trips or streams.
    pub(crate) count: u64,
    /// Processor time of the two processes.
    pub(crate) client: Duration,
    pub(crate) server: Duration,
}

/// A server and a client as child processes, for one window.
pub(crate) fn measure(carrier: Carrier, load: Load, seconds: u64) -> Result<Measured> {
    let program = std::env::current_exe().context("find this program")?;
    let command = || {
        let mut command = Command::new(&program);
        command.args(["paniq-end", carrier.name(), &seconds.to_string()]);
        command
    };
    let mut server = Guarded::spawn(command().stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let stdout = server.child().stdout.take().context("no pipe")?;
    let mut address = String::new();
    BufReader::new(stdout).read_line(&mut address)?;
    let mut client = command();
    client.args(["--server", address.trim()]);
    client.args(["--pid", &server.pid().to_string(), "--load", load.name()]);
    let limit = Duration::from_secs(seconds) + GRACE;
    let text = guard::output(&mut client, limit)?;
    let numbers: Vec<u64> = text
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let [count, client, server] = numbers[..] else {
        bail!("a client said {text:?}");
    };
    ensure!(count > 0, "nothing came through");
    Ok(Measured {
        count,
        client: Duration::from_nanos(client),
        server: Duration::from_nanos(server),
    })
}

/// One end, in this process.
pub(crate) fn end(args: &PaniqEnd) -> Result<()> {
    let wire = Wire::bind()?;
    let window = Duration::from_secs(args.seconds);
    let now = wire.now();
    let sources = sources(u64::from(std::process::id()));
    match (args.server, args.carrier) {
        (None, Carrier::Tunnel) => wire.serve(ServerEnd::new(now, 2)?, window),
        (None, Carrier::Plain) => {
            let _turn = sources.enter(now);
            wire.serve(Plain::server(&sources)?, window)
        }
        (Some(server), Carrier::Tunnel) => wire.load(ClientEnd::new(now, server, 1)?, args, window),
        (Some(server), Carrier::Plain) => {
            let _turn = sources.enter(now);
            wire.load(Plain::client(&sources, server)?, args, window)
        }
    }
}

/// A socket and what it takes to use it.
struct Wire {
    socket: UdpSocket,
    state: UdpSocketState,
    began: Clock,
    received: Vec<Vec<u8>>,
    buffer: BytesMut,
}

impl Wire {
    fn bind() -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("bind")?;
        let state = UdpSocketState::new((&socket).into())?;
        // More than the system allows is cut.
        state.set_send_buffer_size((&socket).into(), SOCKET_BYTES)?;
        state.set_recv_buffer_size((&socket).into(), SOCKET_BYTES)?;
        Ok(Self {
            socket,
            state,
            began: Clock::now(),
            received: vec![vec![0; RECEIVE_BYTES]; BATCH_SIZE],
            buffer: BytesMut::new(),
        })
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.began.elapsed()
    }

    fn serve(mut self, mut end: impl End, window: Duration) -> Result<()> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{}", self.socket.local_addr()?)?;
        stdout.flush()?;
        let until = Clock::now() + window + GRACE;
        while Clock::now() < until {
            self.turn(&mut end)?;
        }
        Ok(())
    }

    fn load(mut self, mut end: impl End, args: &PaniqEnd, window: Duration) -> Result<()> {
        let load = args.load.as_deref().and_then(Load::find);
        let load = load.context("no such load")?;
        let server = Pid::from_raw(args.pid.context("no process")?);
        end.turn(self.now());
        end.start(self.now(), load);
        self.run(&mut end, WARM_UP)?;
        let look =
            || Ok::<_, anyhow::Error>([process::own_cpu_time()?, process::cpu_time(server)?]);
        let (count, [own, other]) = (end.count(), look()?);
        self.run(&mut end, window)?;
        let (count, [own_then, other_then]) = (end.count() - count, look()?);
        writeln!(
            io::stdout(),
            "{count} {} {}",
            own_then.saturating_sub(own).as_nanos(),
            other_then.saturating_sub(other).as_nanos()
        )?;
        Ok(())
    }

    fn run(&mut self, end: &mut impl End, length: Duration) -> Result<()> {
        let until = Clock::now() + length;
        while Clock::now() < until {
            self.turn(end)?;
        }
        Ok(())
    }

    /// Receives, lets the machine work, sends; waits where there was nothing.
    fn turn(&mut self, end: &mut impl End) -> Result<()> {
        let has_received = self.receive(end)?;
        let now = self.now();
        if end.poll_timeout(now).is_some_and(|at| at <= now) {
            end.handle_timeout(now);
        }
        end.turn(now);
        let has_sent = self.send(end)?;
        if !has_received && !has_sent {
            let now = self.now();
            let due = end.poll_timeout(now);
            let wait = due.map_or(WAIT_MAX, |at| at.saturating_duration_since(now));
            self.wait(PollFlags::POLLIN, wait.min(WAIT_MAX))?;
        }
        Ok(())
    }

    fn receive(&mut self, end: &mut impl End) -> Result<bool> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut slices: Vec<IoSliceMut<'_>> = self
            .received
            .iter_mut()
            .map(|b| IoSliceMut::new(b))
            .collect();
        let got = self
            .state
            .recv((&self.socket).into(), &mut slices, &mut metas);
        let messages = match got {
            Ok(messages) => messages,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error).context("receive"),
        };
        let now = Instant::ZERO + self.began.elapsed();
        for (meta, bytes) in metas.iter().zip(&self.received).take(messages) {
            let bytes = bytes.get(..meta.len).unwrap_or_default();
            for datagram in bytes.chunks(meta.stride.max(1)) {
                if self.buffer.capacity() < datagram.len() {
                    self.buffer.reserve(RECEIVE_BYTES);
                }
                self.buffer.extend_from_slice(datagram);
                end.handle_datagram(now, meta.addr, self.buffer.split());
            }
        }
        Ok(true)
    }

    fn send(&self, end: &mut impl End) -> Result<bool> {
        let segments = self.state.max_gso_segments().clamp(1, SEGMENTS_MAX);
        let mut fault = None;
        let mut has_sent = false;
        while fault.is_none()
            && end.transmit(self.now(), segments, &mut |to, segment, bytes| {
                fault = self.send_one(to, segment, bytes).err();
            })
        {
            has_sent = true;
        }
        fault.map_or(Ok(has_sent), Err)
    }

    fn send_one(&self, to: SocketAddr, segment: usize, bytes: &[u8]) -> Result<()> {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: bytes,
            segment_size: (segment < bytes.len()).then_some(segment),
            src_ip: None,
        };
        loop {
            match self.state.try_send((&self.socket).into(), &transmit) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(PollFlags::POLLOUT, WAIT_MAX)?;
                }
                Err(error) => return Err(error).context("send"),
            }
        }
    }

    fn wait(&self, what: PollFlags, wait: Duration) -> Result<()> {
        // Rounded up: what is due in a part of a millisecond is not asked for again and again.
        let millis = wait.as_micros().div_ceil(1000);
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::ZERO);
        poll(&mut [PollFd::new(self.socket.as_fd(), what)], timeout)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ends on threads of this process, for a moment.
    fn carries(carrier: Carrier) {
        let server = Wire::bind().unwrap();
        let address = server.socket.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let (mut server, moment) = (server, Duration::from_millis(700));
            let now = server.now();
            let sources = sources(1);
            match carrier {
                Carrier::Tunnel => server.run(&mut ServerEnd::new(now, 2).unwrap(), moment),
                Carrier::Plain => {
                    let _turn = sources.enter(now);
                    server.run(&mut Plain::server(&sources).unwrap(), moment)
                }
            }
        });
        let mut client = Wire::bind().unwrap();
        let moment = Duration::from_millis(500);
        let sources = sources(2);
        let done = match carrier {
            Carrier::Tunnel => {
                let mut end = ClientEnd::new(client.now(), address, 1).unwrap();
                end.start(client.now(), Load::Trip);
                client.run(&mut end, moment).unwrap();
                end.count()
            }
            Carrier::Plain => {
                let _turn = sources.enter(client.now());
                let mut end = Plain::client(&sources, address).unwrap();
                end.start(client.now(), Load::Trip);
                client.run(&mut end, moment).unwrap();
                end.count()
            }
        };
        assert!(done > 0, "{carrier:?}");
        serving.join().unwrap().unwrap();
    }

    #[test]
    fn a_tunnel_carries_round_trips_over_sockets() {
        carries(Carrier::Tunnel);
    }

    #[test]
    fn plain_quic_does_so_as_well() {
        carries(Carrier::Plain);
    }
}
