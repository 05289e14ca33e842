//! The loop: who had an event, whose deadline came, who is new.
use crate::driver::{Epoll, Turns};
use rustix::event::{Timespec, epoll};
use sansbox_core::{Instant, Seed};
use sansbox_engine::{
    Peer, Plan, Session,
    config::{ReadOptions, Sources, read},
    drive::{BackOff, Drive, Pool, Turn},
    ids::InboundId,
};
use slab::Slab;
use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

/// The listener's number among those of drives.
const LISTENER: u64 = u64::MAX;

pub(crate) struct Server {
    /// What the configuration decides. All sessions share it.
    plan: Arc<Plan>,
    listener: TcpListener,
    /// When to listen again, after files ran out.
    paused_until: Option<Instant>,
    back_off: BackOff,
    epoll: Epoll,
    /// One drive for each connection. Its place is its number, which is what epoll and the timers
    /// give back.
    drives: Slab<Drive<Session, Epoll>>,
    /// Buffers and timers that the drives of this thread share.
    pool: Pool,
    /// When this program began: the epoch of the machines' clock.
    epoch: std::time::Instant,
    /// Randomness: every session gets a seed of its own, made from this one.
    seed: Seed,
    accepted: u64,
    log: Box<dyn io::Write>,
}

impl Server {
    pub(crate) fn bind(port: u16, is_quiet: bool) -> io::Result<Self> {
        // Any sing-box configuration can stand here. This program listens on the first inbound
        // only, and its driver has no dial options, so it brings its own.
        let json = format!(r#"{{"inbounds": [{{"type": "socks", "listen_port": {port}}}]}}"#);
        let sources = Sources::single("config", json);
        let (config, _) = read(&sources, &ReadOptions::default()).expect("a good configuration");
        let plan = Plan::build(&config).expect("a good configuration");
        assert!(!plan.has_carriers(), "this loop has no carriers");

        let listen = &plan.inbounds()[0].listen;
        let listener = TcpListener::bind((listen.listen, listen.listen_port))?;
        listener.set_nonblocking(true)?;
        println!("serving {}", listener.local_addr()?);
        let epoll = Epoll::new()?;
        epoll.watch_listener(&listener, LISTENER)?;

        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(Self {
            plan: Arc::new(plan),
            listener,
            paused_until: None,
            back_off: BackOff::default(),
            epoll,
            drives: Slab::new(),
            pool: Pool::default(),
            epoch: std::time::Instant::now(),
            seed: Seed::new(seed),
            accepted: 0,
            log: match is_quiet {
                true => Box::new(io::sink()),
                false => Box::new(io::stdout()),
            },
        })
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.epoch.elapsed().as_nanos() as u64)
    }

    fn until(&self, at: Instant) -> Timespec {
        let left = at.saturating_duration_since(self.now());
        let left = left.min(Duration::from_secs(3600));
        Timespec::try_from(left).unwrap_or_default()
    }

    /// Serves until the process ends.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(256);
        // Drives that had much to do and let others go first.
        let mut again: Vec<usize> = Vec::new();
        loop {
            // 1. Wait: not past the first deadline, and not at all when somebody has more to do.
            let wait = if again.is_empty() {
                let deadlines = [self.pool.timers.next(), self.paused_until];
                let first = deadlines.into_iter().flatten().min();
                first.map(|at| self.until(at))
            } else {
                Some(Timespec::default())
            };
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll.0, spare, wait.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
            // 2. Give a turn to all who had an event ...
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept(&mut again)?,
                    number => again.push(number as usize),
                }
            }
            // ... or whose deadline has come ...
            let now = self.now();
            if self.paused_until.is_some_and(|at| at <= now) {
                self.paused_until = None;
                self.listen(epoll::EventFlags::IN)?;
            }
            while let Some(number) = self.pool.timers.pop_due(now) {
                again.push(number);
            }
            // ... once. A turn too many does no harm, so it does not matter whether the number
            // is by now that of a newer drive.
            again.sort_unstable();
            again.dedup();
            for number in std::mem::take(&mut again) {
                if self.turn(number, now) == Some(Turn::Again) {
                    again.push(number);
                }
            }
        }
    }

    /// Takes in whoever waits.
    fn accept(&mut self, new: &mut Vec<usize>) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, remote)) => {
                    self.back_off.reset();
                    new.push(self.enter(stream, remote)?);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // It gave up before it was taken in.
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
                // There are no files left. The listener would ask again and again until there are:
                // it has to be silent for a while.
                Err(e) => {
                    eprintln!("accept: {e}");
                    self.paused_until = Some(self.now() + self.back_off.pause());
                    return self.listen(epoll::EventFlags::empty());
                }
            }
        }
    }

    /// What is asked of the listener from now on.
    fn listen(&self, what: epoll::EventFlags) -> io::Result<()> {
        let data = epoll::EventData::new_u64(LISTENER);
        Ok(epoll::modify(&self.epoll.0, &self.listener, data, what)?)
    }

    /// A new connection gets a machine, and the machine a drive.
    fn enter(&mut self, stream: TcpStream, remote: SocketAddr) -> io::Result<usize> {
        stream.set_nonblocking(true)?;
        let local = stream.local_addr()?;
        let (plan, peer) = (Arc::clone(&self.plan), Peer { remote, local });
        let seed = self.seed.derive_nth("connection", self.accepted);
        self.accepted += 1;
        let session = Session::new(plan, InboundId(0), peer, seed, self.now());
        let entry = self.drives.vacant_entry();
        let number = entry.key();
        self.epoll.watch(&stream, number)?;
        entry.insert(Drive::session(session, number, stream));
        Ok(number)
    }

    /// Lets one drive do all that it can do now.
    fn turn(&mut self, number: usize, now: Instant) -> Option<Turn> {
        let drive = self.drives.get_mut(number)?;
        let mut driver = Turns {
            epoll: &self.epoll,
            number,
            log: &mut self.log,
        };
        let turn = drive.turn(&mut driver, &self.pool, now);
        if turn == Turn::Finished {
            drive.release(&mut driver, &self.pool);
            self.drives.remove(number);
        }
        Some(turn)
    }
}
