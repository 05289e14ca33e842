//! Connections through a toy session, on loopback.
use crate::common::{Mode, Pattern, Toy, World, wait_for};
use crate::runtime::{Options, Shutdown};
use sansbox_core::Refusal;
use sansbox_engine::record::CloseReason;
use socket2::SockRef;
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown as Half, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(20);

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.set_write_timeout(Some(PATIENCE)).expect("set");
    stream
}

fn connect(world: &World) -> TcpStream {
    patient(TcpStream::connect(world.tcp()).expect("connected"))
}

fn accept(listener: &TcpListener) -> TcpStream {
    patient(listener.accept().expect("accepted").0)
}

/// A client and the target it reached, through `mode`.
fn joined(mode: Mode) -> (World, TcpStream, TcpStream) {
    let (listener, target) = listen();
    let world = World::start(Toy::new(mode, target));
    let client = connect(&world);
    let upstream = accept(&listener);
    (world, client, upstream)
}

fn send(mut to: &TcpStream, seed: u64, mut total: usize, chunk: usize) {
    let mut pattern = Pattern::new(seed);
    let mut bytes = vec![0; chunk];
    while total > 0 {
        let n = total.min(chunk);
        pattern.fill(&mut bytes[..n]);
        to.write_all(&bytes[..n]).expect("written");
        total -= n;
    }
}

fn receive(mut from: &TcpStream, seed: u64, total: usize) {
    let mut pattern = Pattern::new(seed);
    let mut bytes = vec![0; 256 * 1024];
    let mut got = 0;
    while got < total {
        let room = bytes.len().min(total - got);
        let n = from.read(&mut bytes[..room]).expect("read");
        assert!(n > 0, "ended after {got} of {total} bytes");
        pattern.check(&bytes[..n]);
        got += n;
    }
}

fn expect_end(mut from: &TcpStream) {
    assert_eq!(from.read(&mut [0; 16]).expect("an end"), 0);
}

fn expect_reset(mut from: &TcpStream) {
    let error = from.read(&mut [0; 16]).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .expect("set");
}

/// Both directions at once, whole, then the ends.
fn both_ways(mode: Mode, up: usize, down: usize, chunk: usize) -> World {
    let (world, client, upstream) = joined(mode);
    thread::scope(|scope| {
        scope.spawn(|| {
            send(&client, 1, up, chunk);
            client.shutdown(Half::Write).expect("shut");
        });
        scope.spawn(|| {
            send(&upstream, 2, down, chunk);
            upstream.shutdown(Half::Write).expect("shut");
        });
        scope.spawn(|| {
            receive(&upstream, 1, up);
            expect_end(&upstream);
        });
        receive(&client, 2, down);
        expect_end(&client);
    });
    let records = world.notes.wait_closed(1);
    assert_eq!(records[0].closed, Some(CloseReason::Completed));
    if mode != Mode::Pipes {
        let counted = (records[0].bytes_up, records[0].bytes_down);
        assert_eq!(counted, (up as u64, down as u64));
    }
    world
}

const BULK: usize = 64 * 1024 * 1024;

#[test]
fn bulk_arrives_whole_both_ways_through_pipes_of_the_machine() {
    both_ways(Mode::Pipes, BULK, BULK / 2, 128 * 1024);
}

#[test]
fn bulk_arrives_whole_both_ways_and_is_spliced() {
    let world = both_ways(Mode::Passthrough, BULK, BULK / 2, 128 * 1024);
    let counters = world.running.counters();
    assert!(counters.spliced > BULK as u64, "{counters:?}");
    assert_eq!(counters.copied + counters.spliced, (BULK + BULK / 2) as u64);
}

#[test]
fn bulk_arrives_whole_without_kernel_pipes() {
    let (listener, target) = listen();
    let options = Options {
        workers: Some(1),
        max_pipes: 0,
        ..Options::default()
    };
    let toy = Toy::new(Mode::Passthrough, target);
    let world = World::try_start(toy, options).expect("started");
    let client = connect(&world);
    let upstream = accept(&listener);
    thread::scope(|scope| {
        scope.spawn(|| send(&client, 3, BULK, 100_000));
        receive(&upstream, 3, BULK);
    });
    wait_for("the count", || {
        world.running.counters().copied == BULK as u64
    });
}

#[test]
fn small_exchanges_are_copied() {
    let (world, client, upstream) = joined(Mode::Passthrough);
    for round in 0..200 {
        send(&client, round, 64, 64);
        receive(&upstream, round, 64);
        send(&upstream, round, 3000, 3000);
        receive(&client, round, 3000);
    }
    wait_for("the count", || {
        world.running.counters().copied == 200 * 3064
    });
    assert_eq!(world.running.counters().spliced, 0);
}

#[test]
fn half_close_of_the_client_still_delivers_the_answer() {
    for mode in [Mode::Pipes, Mode::Passthrough] {
        let (world, client, upstream) = joined(mode);
        send(&client, 1, 1000, 1000);
        client.shutdown(Half::Write).expect("shut");
        receive(&upstream, 1, 1000);
        expect_end(&upstream);
        send(&upstream, 2, 300_000, 10_000);
        receive(&client, 2, 300_000);
        drop(upstream);
        expect_end(&client);
        let records = world.notes.wait_closed(1);
        assert_eq!(records[0].closed, Some(CloseReason::Completed), "{mode:?}");
    }
}

#[test]
fn half_close_of_the_upstream_still_delivers_the_rest_of_the_request() {
    for mode in [Mode::Pipes, Mode::Passthrough] {
        let (world, client, upstream) = joined(mode);
        upstream.shutdown(Half::Write).expect("shut");
        expect_end(&client);
        send(&client, 1, 300_000, 10_000);
        client.shutdown(Half::Write).expect("shut");
        receive(&upstream, 1, 300_000);
        expect_end(&upstream);
        let records = world.notes.wait_closed(1);
        assert_eq!(records[0].closed, Some(CloseReason::Completed), "{mode:?}");
    }
}

#[test]
fn an_end_right_behind_the_bytes_is_not_lost() {
    for mode in [Mode::Pipes, Mode::Passthrough] {
        let (listener, target) = listen();
        let world = World::start(Toy::new(mode, target));
        for round in 0..200_usize {
            let client = connect(&world);
            send(&client, 1, 1 + round * 97, 1 << 20);
            client.shutdown(Half::Write).expect("shut");
            let upstream = accept(&listener);
            receive(&upstream, 1, 1 + round * 97);
            expect_end(&upstream);
            drop(upstream);
            expect_end(&client);
        }
        let records = world.notes.wait_closed(200);
        assert!(
            records
                .iter()
                .all(|r| r.closed == Some(CloseReason::Completed))
        );
    }
}

#[test]
fn a_reset_of_the_client_resets_the_upstream() {
    for mode in [Mode::Pipes, Mode::Passthrough] {
        let (world, client, upstream) = joined(mode);
        send(&client, 1, 10, 10);
        receive(&upstream, 1, 10);
        reset(client);
        expect_reset(&upstream);
        let records = world.notes.wait_closed(1);
        assert_eq!(records[0].closed, Some(CloseReason::ClientReset));
    }
}

#[test]
fn a_reset_of_the_upstream_resets_the_client() {
    for mode in [Mode::Pipes, Mode::Passthrough] {
        let (world, client, upstream) = joined(mode);
        send(&upstream, 1, 10, 10);
        receive(&client, 1, 10);
        reset(upstream);
        expect_reset(&client);
        let records = world.notes.wait_closed(1);
        assert_eq!(records[0].closed, Some(CloseReason::UpstreamReset));
    }
}

#[test]
fn many_connections_of_all_kinds_leave_nothing_behind() {
    for mode in [Mode::Pipes, Mode::Passthrough] {
        let (listener, target) = listen();
        let world = World::start(Toy::new(mode, target));
        thread::spawn(move || {
            for upstream in listener.incoming().flatten().map(patient) {
                thread::spawn(move || {
                    let mut bytes = vec![0; 32 * 1024];
                    while let Ok(n @ 1..) = (&upstream).read(&mut bytes) {
                        if (&upstream).write_all(&bytes[..n]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        thread::scope(|scope| {
            for thread in 0..8_usize {
                let world = &world;
                scope.spawn(move || {
                    for n in 0..40_usize {
                        let size = 1 + (thread * 7919 + n * 104_729) % 400_000;
                        let client = connect(world);
                        match (thread + n) % 4 {
                            // In order, with the echo read at the same time.
                            0 => thread::scope(|scope| {
                                scope.spawn(|| {
                                    send(&client, 9, size, 10_007);
                                    client.shutdown(Half::Write).expect("shut");
                                });
                                receive(&client, 9, size);
                                expect_end(&client);
                            }),
                            1 => reset(client),
                            // Left with bytes on their way, both ways.
                            2 => {
                                send(&client, 9, size % 30_000, 4096);
                                reset(client);
                            }
                            _ => send(&client, 9, size % 30_000, 4096),
                        }
                    }
                });
            }
        });
        world.notes.wait_closed(8 * 40);
        wait_for("the sessions to go", || world.running.counters().open == 0);
    }
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse().ok()).expect("a number")
}

#[test]
fn a_slow_reader_holds_the_writer_back_and_little_memory() {
    for mode in [Mode::Pipes, Mode::Passthrough] {
        let (world, mut client, upstream) = joined(mode);
        client
            .set_write_timeout(Some(Duration::from_millis(300)))
            .expect("set");
        let before = resident_kib();
        let chunk = vec![7; 1 << 20];
        let mut taken = 0;
        let stalled = loop {
            match client.write(&chunk) {
                Ok(n) => taken += n,
                Err(e) => break e,
            }
            assert!(taken < 256 << 20, "nothing holds the writer back");
        };
        assert_eq!(stalled.kind(), ErrorKind::WouldBlock);
        let grown = resident_kib().saturating_sub(before);
        assert!(grown < 32 * 1024, "{grown} KiB held for one slow reader");
        // The reader wakes up: everything is still there.
        let mut rest = taken;
        let mut bytes = vec![0; 1 << 20];
        let mut reader = &upstream;
        while rest > 0 {
            let n = reader.read(&mut bytes).expect("read");
            assert!(n > 0 && bytes[..n].iter().all(|b| *b == 7));
            rest -= n;
        }
        drop(world);
    }
}

#[test]
fn a_refused_dial_is_told_as_such() {
    let (listener, target) = listen();
    drop(listener);
    let world = World::start(Toy::new(Mode::Passthrough, target));
    expect_reset(&connect(&world));
    let records = world.notes.wait_closed(1);
    let refused = CloseReason::Refused(Refusal::ConnectionRefused);
    assert_eq!(records[0].closed, Some(refused));
}

/// A listener whose queue is full: further connections get no answer.
fn black_hole() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
    let (listener, target) = listen();
    SockRef::from(&listener).listen(0).expect("a queue of one");
    let mut fill = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&target, Duration::from_millis(200)) {
        fill.push(stream);
    }
    (listener, fill, target)
}

#[test]
fn a_cancelled_dial_goes_away_at_its_deadline() {
    let (_listener, _fill, target) = black_hole();
    let mut toy = Toy::new(Mode::Passthrough, target);
    toy.dial_budget = Duration::from_millis(200);
    let world = World::start(toy);
    let begun = Instant::now();
    expect_reset(&connect(&world));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(190), "{took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    let records = world.notes.wait_closed(1);
    let timed_out = CloseReason::Refused(Refusal::TimedOut);
    assert_eq!(records[0].closed, Some(timed_out));
    wait_for("the session to go", || world.running.counters().open == 0);
}

#[test]
fn names_are_resolved_on_the_way() {
    let (world, client, upstream) = joined(Mode::Resolve);
    send(&client, 1, 10, 10);
    receive(&upstream, 1, 10);
    assert_eq!(world.running.counters().lookups, 1);
}

#[test]
fn an_idle_relay_ends_at_its_deadline_and_a_busy_one_does_not() {
    let (listener, target) = listen();
    let mut toy = Toy::new(Mode::Passthrough, target);
    toy.idle = Duration::from_millis(300);
    let world = World::start(toy);
    let client = connect(&world);
    let upstream = accept(&listener);
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(100));
        send(&client, 1, 10, 10);
        receive(&upstream, 1, 10);
    }
    assert!(world.notes.closed.lock().unwrap().is_empty());
    expect_end(&client);
    let records = world.notes.wait_closed(1);
    assert_eq!(records[0].closed, Some(CloseReason::IdleTimeout));
    assert_eq!(records[0].bytes_up, 100);
}

#[test]
fn at_the_connection_limit_the_next_one_waits_for_a_place() {
    let (listener, target) = listen();
    let options = Options {
        workers: Some(2),
        max_connections: Some(2),
        ..Options::default()
    };
    let toy = Toy::new(Mode::Passthrough, target);
    let world = World::try_start(toy, options).expect("started");
    let mut open: Vec<_> = (0..2)
        .map(|_| (connect(&world), accept(&listener)))
        .collect();
    let waiting = connect(&world);
    wait_for("the limit", || world.notes.count("ConnectionLimit") == 1);
    listener.set_nonblocking(true).expect("set");
    thread::sleep(Duration::from_millis(100));
    assert!(listener.accept().is_err(), "a third was let in");
    listener.set_nonblocking(false).expect("set");
    open.pop();
    let upstream = accept(&listener);
    send(&waiting, 5, 100, 100);
    receive(&upstream, 5, 100);
}

#[test]
fn stopping_tells_sessions_and_waits_for_them() {
    let (mut world, client, _upstream) = joined(Mode::Passthrough);
    let address = world.tcp();
    let notes = std::sync::Arc::clone(&world.notes);
    let cut = world.running.stop(Shutdown {
        grace: Duration::ZERO,
        deadline: PATIENCE,
    });
    assert_eq!(cut, 0);
    expect_end(&client);
    let records = notes.wait_closed(1);
    assert_eq!(records[0].closed, Some(CloseReason::Stopped));
    let refused = TcpStream::connect(address).expect_err("closed");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_session_may_end_by_itself_in_the_grace_period() {
    let (mut world, client, upstream) = joined(Mode::Passthrough);
    let notes = std::sync::Arc::clone(&world.notes);
    let stopping = thread::spawn(move || {
        world.running.stop(Shutdown {
            grace: PATIENCE,
            deadline: Duration::ZERO,
        })
    });
    thread::sleep(Duration::from_millis(100));
    send(&client, 1, 100, 100);
    receive(&upstream, 1, 100);
    drop((client, upstream));
    assert_eq!(stopping.join().expect("stopped"), 0);
    let records = notes.wait_closed(1);
    assert_eq!(records[0].closed, Some(CloseReason::Completed));
}

#[test]
fn a_session_that_does_not_stop_is_cut_and_counted() {
    let (listener, target) = listen();
    let mut toy = Toy::new(Mode::Passthrough, target);
    toy.ignores_stop = true;
    let mut world = World::start(toy);
    let client = connect(&world);
    let _upstream = accept(&listener);
    let begun = Instant::now();
    let cut = world.running.stop(Shutdown {
        grace: Duration::ZERO,
        deadline: Duration::from_millis(200),
    });
    assert_eq!(cut, 1);
    assert!(begun.elapsed() < Duration::from_secs(5));
    expect_end(&client);
}

#[test]
fn a_machine_that_panics_takes_no_other_with_it() {
    let (listener, target) = listen();
    let mut toy = Toy::new(Mode::Pipes, target);
    toy.panics_at = Some(b"panic");
    let options = Options {
        workers: Some(1),
        ..Options::default()
    };
    let world = World::try_start(toy, options).expect("started");
    let (client, upstream) = (connect(&world), accept(&listener));
    let (other, other_upstream) = (connect(&world), accept(&listener));
    (&client).write_all(b"panic").expect("written");
    expect_end(&client);
    expect_end(&upstream);
    send(&other, 1, 100_000, 1000);
    receive(&other_upstream, 1, 100_000);
    assert_eq!(world.running.counters().open, 1);
}

#[test]
fn a_taken_port_is_an_error_even_where_the_other_would_share_it() {
    let (_listener, taken) = listen();
    let other =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    other.set_reuse_port(true).expect("set");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    other.bind(&any.into()).expect("bound");
    other.listen(1).expect("listening");
    let shared = other.local_addr().expect("bound").as_socket().expect("IP");
    for (address, workers) in [(taken, 1), (taken, 2), (shared, 2)] {
        let mut toy = Toy::new(Mode::Passthrough, taken);
        toy.listens[0].listen.listen_port = address.port();
        let options = Options {
            workers: Some(workers),
            ..Options::default()
        };
        let error = World::try_start(toy, options).err().expect("taken");
        let text = error.to_string();
        assert!(text.contains("Address already in use"), "{text}");
        assert!(text.contains(&address.to_string()), "{text}");
    }
}
