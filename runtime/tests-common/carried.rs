//! Sessions over carriers: a tunnel between two runtimes of one process.
use crate::common::{Notes, wait_for};
use crate::runtime::{Network, Options, Running, Runtime, Shutdown};
use bytes::BytesMut;
use sansbox_core::{Instant, Pipe, Progress, Refusal, Seed};
use sansbox_engine::{
    Association, Peer, Plan, Session,
    carrier::{Carrier, Event, Path, Stream, StreamLimits, Transmit, Whose},
    config::{ReadOptions, Sources, model::Dial, read},
    drive::{InboundSockets, Service},
    ids::{InboundId, OutboundId},
    machine::Wanted,
    record::CloseReason,
};
use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(20);
const PROFILE: &str = r#"{"proxy_addr": "127.0.0.1:1", "obfuscation": {"i1": "<t>", "s4": 20}}"#;
/// A carrier that is asked for this port panics.
const FATAL: u16 = 9;

fn plan(config: &str) -> Plan {
    let sources = Sources::single("config.json", config);
    let (config, _) = read(&sources, &ReadOptions::default()).expect("a configuration");
    Plan::build(&config).expect("a plan")
}

/// A plan whose carriers can be made to panic.
struct Fatal(Arc<Plan>);

impl Service for Fatal {
    type Session = Session;
    type Association = Association;

    fn inbounds(&self) -> Vec<InboundSockets> {
        Service::inbounds(&*self.0)
    }

    fn dial(&self, outbound: OutboundId) -> Option<&Dial> {
        self.0.dial(outbound)
    }

    fn session(
        self: &Arc<Self>,
        inbound: InboundId,
        peer: Peer,
        seed: Seed,
        now: Instant,
    ) -> Session {
        self.0.session(inbound, peer, seed, now)
    }

    fn association(
        self: &Arc<Self>,
        inbound: InboundId,
        peer: Peer,
        seed: Seed,
        now: Instant,
    ) -> Association {
        self.0.association(inbound, peer, seed, now)
    }

    fn carrier(
        self: &Arc<Self>,
        whose: Whose,
        seed: Seed,
        now: Instant,
        since_1970: Duration,
    ) -> Option<Box<dyn Carrier>> {
        let carrier = self.0.carrier(whose, seed, now, since_1970)?;
        Some(Box::new(FatalCarrier(carrier)))
    }

    fn carried(
        self: &Arc<Self>,
        inbound: InboundId,
        peer: Peer,
        wanted: Wanted,
        seed: Seed,
        now: Instant,
    ) -> Option<Session> {
        self.0.carried(inbound, peer, wanted, seed, now)
    }
}

#[derive(Debug)]
struct FatalCarrier(Box<dyn Carrier>);

impl Carrier for FatalCarrier {
    fn set_wall_clock(&mut self, now: Instant, since_1970: Duration) {
        self.0.set_wall_clock(now, since_1970);
    }

    fn resolved(&mut self, now: Instant, answer: Result<&[IpAddr], Refusal>) {
        self.0.resolved(now, answer);
    }

    fn bound(&mut self, now: Instant, path: Path, result: Result<(), Refusal>) {
        self.0.bound(now, path, result);
    }

    fn handle_datagram(
        &mut self,
        now: Instant,
        path: Path,
        from: SocketAddr,
        data: BytesMut,
    ) -> bool {
        self.0.handle_datagram(now, path, from, data)
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        segments_max: usize,
        out: &mut BytesMut,
    ) -> Option<Transmit> {
        self.0.poll_transmit(now, segments_max, out)
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.0.poll_event()
    }

    fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.0.poll_timeout(now)
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.0.handle_timeout(now);
    }

    fn stream_limits(&self) -> StreamLimits {
        self.0.stream_limits()
    }

    fn open(&mut self, now: Instant, wanted: Wanted) -> Stream {
        let is_fatal = matches!(&wanted, Wanted::Connection(target) if target.port == FATAL);
        assert!(!is_fatal, "as the test wants");
        self.0.open(now, wanted)
    }

    fn answer(&mut self, now: Instant, stream: Stream, answer: Result<SocketAddr, Refusal>) {
        self.0.answer(now, stream, answer);
    }

    fn exchange(
        &mut self,
        now: Instant,
        stream: Stream,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) -> Progress {
        self.0.exchange(now, stream, received, to_send)
    }

    fn is_open(&self, stream: Stream) -> bool {
        self.0.is_open(stream)
    }

    fn abandon(&mut self, now: Instant, stream: Stream) {
        self.0.abandon(now, stream);
    }

    fn close(&mut self, now: Instant) {
        self.0.close(now);
    }
}

/// One end.
struct End {
    running: Running,
    notes: Arc<Notes>,
}

impl End {
    fn start(config: &str, options: Options) -> Self {
        let notes = Arc::new(Notes::default());
        let observer = Arc::clone(&notes);
        let service = Arc::new(Fatal(Arc::new(plan(config))));
        let running = Runtime::start(service, options, observer).expect("started");
        Self { running, notes }
    }

    fn server(options: Options) -> Self {
        let config = format!(
            r#"{{"inbounds":
                [{{"type": "paniq", "profile": {PROFILE}, "allow_private": true}}]}}"#
        );
        Self::start(&config, options)
    }

    /// A client whose connections all go to `targets`, one listener for each.
    fn client(server: &Self, targets: &[SocketAddr], workers: usize) -> Self {
        let port = server.running.bound()[0].address.port();
        let inbound = |target: &SocketAddr| {
            let (ip, port) = (target.ip(), target.port());
            format!(
                r#"{{"type": "direct", "network": "tcp", "tag": "{port}",
                    "override_address": "{ip}", "override_port": {port}}}"#
            )
        };
        let inbounds: Vec<_> = targets.iter().map(inbound).collect();
        let config = format!(
            r#"{{"inbounds": [{}], "outbounds": [{{"type": "paniq", "profile": {PROFILE},
                "server": "127.0.0.1", "server_port": {port}}}]}}"#,
            inbounds.join(", ")
        );
        let workers = Some(workers);
        let options = Options {
            workers,
            ..Options::default()
        };
        Self::start(&config, options)
    }

    fn connect(&self, nth: usize) -> TcpStream {
        let bound = self.running.bound();
        let mut bound = bound.iter().filter(|bound| bound.network == Network::Tcp);
        let address = bound
            .find(|bound| usize::from(bound.inbound.0) == nth)
            .expect("bound")
            .address;
        let client = TcpStream::connect(address).expect("connected");
        client.set_read_timeout(Some(PATIENCE)).expect("set");
        client
    }

    fn stop(mut self) -> Arc<Notes> {
        let cut = self.running.stop(Shutdown {
            grace: Duration::ZERO,
            deadline: PATIENCE,
        });
        assert_eq!(cut, 0);
        assert_eq!(self.running.counters().open, 0);
        self.notes
    }
}

fn target() -> (TcpListener, SocketAddr) {
    let target = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = target.local_addr().expect("bound");
    (target, address)
}

/// A connection ends, one way or the other, and at once.
fn ended(stream: &mut TcpStream) {
    match stream.read(&mut [0; 1]) {
        Ok(n) => assert_eq!(n, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

fn exchange(mut a: &TcpStream, mut b: &TcpStream) {
    let mut bytes = [0; 5];
    a.write_all(b"hello").expect("written");
    b.read_exact(&mut bytes).expect("read");
    b.write_all(b"world").expect("written");
    a.read_exact(&mut bytes).expect("read");
    assert_eq!(&bytes, b"world");
}

#[test]
fn streams_of_a_tunnel_are_sessions_like_others() {
    let (listener, address) = target();
    for workers in [1, 2] {
        let server = End::server(Options {
            workers: Some(workers),
            ..Options::default()
        });
        let client = End::client(&server, &[address], workers);
        let pairs: Vec<_> = (0..10)
            .map(|_| {
                let near = client.connect(0);
                let (far, _) = listener.accept().expect("accepted");
                exchange(&near, &far);
                (near, far)
            })
            .collect();
        // Carriers are none of the sessions that are counted.
        for end in [&client, &server] {
            assert_eq!(end.running.counters().open, 10);
        }
        drop(pairs);
        for end in [&client, &server] {
            for record in end.notes.wait_closed(10) {
                assert_eq!(record.closed, Some(CloseReason::Completed));
                assert_eq!((record.bytes_up, record.bytes_down), (5, 5));
            }
            wait_for("all to end", || end.running.counters().open == 0);
        }
        client.stop();
        let notes = &server.notes;
        wait_for("the server to know", || {
            notes.count("tunnel is down") == notes.count("tunnel is up")
        });
        server.stop();
    }
}

#[test]
fn the_limit_of_connections_holds_for_streams() {
    let (listener, address) = target();
    let server = End::server(Options {
        max_connections: Some(2),
        ..Options::default()
    });
    let client = End::client(&server, &[address], 1);
    let held: Vec<_> = (0..2)
        .map(|_| (client.connect(0), listener.accept().expect("accepted").0))
        .collect();
    for _ in 0..3 {
        let mut refused = client.connect(0);
        ended(&mut refused);
    }
    assert_eq!(server.running.counters().open, 2);
    held.iter().for_each(|(near, far)| exchange(near, far));
    client.stop();
    server.stop();
}

#[test]
fn a_carrier_that_panics_takes_its_streams_along_and_another_one_is_made() {
    let (listener, address) = target();
    let fatal = SocketAddr::from(([127, 0, 0, 1], FATAL));
    let server = End::server(Options::default());
    let client = End::client(&server, &[address, fatal], 1);
    let mut near = client.connect(0);
    let (far, _) = listener.accept().expect("accepted");
    exchange(&near, &far);
    for _ in 0..2 {
        let mut doomed = client.connect(1);
        ended(&mut doomed);
    }
    ended(&mut near);
    let near = client.connect(0);
    let (far, _) = listener.accept().expect("accepted");
    exchange(&near, &far);
    drop((near, far));
    client.notes.wait_closed(4);
    client.stop();
    server.stop();
}

#[test]
fn the_end_of_either_side_is_told() {
    let (listener, address) = target();
    for is_server in [false, true] {
        let server = End::server(Options::default());
        let client = End::client(&server, &[address], 1);
        let mut near = client.connect(0);
        let (mut far, _) = listener.accept().expect("accepted");
        far.set_read_timeout(Some(PATIENCE)).expect("set");
        exchange(&near, &far);
        let (stopping, other) = if is_server {
            (server, client)
        } else {
            (client, server)
        };
        let closed = stopping.stop().wait_closed(1);
        assert_eq!(closed[0].closed, Some(CloseReason::Stopped));
        // Told, not found out: silence would take two minutes.
        assert_eq!(other.notes.wait_closed(1).len(), 1);
        wait_for("the tunnel to be down", || {
            other.notes.count("is down") == 1
        });
        ended(&mut near);
        ended(&mut far);
        other.stop();
    }
}
