//! A relay in its steady state allocates nothing. By itself, because it counts for the process.
use crate::{
    common::{Mode, Notes, Toy, wait_for},
    runtime::{Executor, Options, Reactor as _, Running, Runtime, Shutdown, Worker},
};
use bytes::BytesMut;
use sansbox_core::{End, Instant, Pipe, Progress, Refusal};
use sansbox_engine::{
    carrier::{Carrier, Event, Path, Stream, Transmit},
    machine::Wanted,
};
use sansbox_heap::heap;
use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

#[global_allocator]
static ALLOCATOR: sansbox_heap::Counting = sansbox_heap::Counting;

/// Allocations of workers.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// Counts what `worker` does; what its executor does as well, if that never allocates.
async fn counted(worker: Worker<Toy>) {
    let (mut serving, mut seen) = (pin!(worker.run()), heap());
    poll_fn(|cx| {
        if !crate::EXECUTOR_IS_COUNTED {
            seen = heap();
        }
        let served = serving.as_mut().poll(cx);
        let now = heap();
        ALLOCATIONS.fetch_add(now.since(seen).allocations, Relaxed);
        seen = now;
        served
    })
    .await
    .expect("served");
}

const CHUNK: usize = 256 * 1024;

fn exchange(mut a: &TcpStream, mut b: &TcpStream) {
    let mut bytes = [0; 64];
    for _ in 0..1000 {
        a.write_all(&[5; 64]).expect("written");
        b.read_exact(&mut bytes).expect("read");
        b.write_all(&bytes).expect("written");
        a.read_exact(&mut bytes).expect("read");
    }
}

fn exchange_with_echo(mut client: &TcpStream) {
    let mut bytes = [0; 64];
    for _ in 0..1000 {
        client.write_all(&[5; 64]).expect("written");
        client.read_exact(&mut bytes).expect("read");
    }
}

fn bulk(mut from: &TcpStream, mut to: &TcpStream, chunks: usize) {
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..chunks {
                from.write_all(&vec![1; CHUNK]).expect("written");
            }
        });
        let mut bytes = vec![0; CHUNK];
        for _ in 0..chunks {
            to.read_exact(&mut bytes).expect("read");
        }
    });
}

/// Writes until nothing more is taken.
fn stall(mut to: &TcpStream) -> usize {
    let patience = Some(Duration::from_millis(300));
    to.set_write_timeout(patience).expect("set");
    let chunk = vec![1; CHUNK];
    let mut taken = 0;
    let stalled = loop {
        match to.write(&chunk) {
            Ok(n) => taken += n,
            Err(e) => break e,
        }
    };
    assert_eq!(stalled.kind(), ErrorKind::WouldBlock);
    to.set_write_timeout(None).expect("set");
    taken
}

/// Both directions hold as much as they ever do, at a time. Returns how many bytes went through.
fn most_that_is_held(client: &TcpStream, upstream: &TcpStream) -> usize {
    let (up, down) = (stall(client), stall(upstream));
    for (mut from, taken) in [(upstream, up), (client, down)] {
        from.read_exact(&mut vec![0; taken]).expect("read");
    }
    up + down
}

/// Serves a toy in one worker, whose allocations are counted, while `work` has its client.
fn serving(toy: Toy, max_pipes: usize, work: impl FnOnce(TcpStream, &Running)) {
    let options = Options {
        workers: Some(1),
        max_pipes,
        ..Options::default()
    };
    let notes = Arc::new(Notes::default());
    let (mut running, mut workers) = Runtime::embed(Arc::new(toy), options, notes).expect("bound");
    let worker = workers.pop().expect("one");
    let serving = thread::spawn(|| Executor::run(counted(worker)));
    let client = TcpStream::connect(running.bound()[0].address).expect("connected");
    work(client, &running);
    running.stop(Shutdown::default());
    serving.join().expect("served").expect("run");
}

/// Runs of memory that the pool of a worker may come to need for what one stream holds: they are
/// pinned by segments, and how many of these lie in one run is a matter of timing.
const RUNS_MAX: u64 = 12;
/// The run, what its parts share, and its place in the pool.
const ALLOCATIONS_PER_RUN: u64 = 3;

/// `work`, which was done once before and moves `moved` bytes, allocates nothing any more, `held`
/// bytes later. Until then only the pool has grown, and not beyond its bound: a single allocation
/// per packet or exchange would come to thousands.
fn becomes_steady(work: impl Fn(), running: &Running, held: usize, moved: usize) {
    let mut first = ALLOCATIONS.load(Relaxed);
    assert!(
        first > 0,
        "the first buffers were not counted, so nothing is"
    );
    let (mut rounds, mut grown) = (1, 0);
    loop {
        for _ in 0..3 {
            work();
        }
        rounds += 3;
        wait_for("the counts", || {
            let counters = running.counters();
            counters.copied + counters.spliced == (held + rounds * moved) as u64
        });
        let now = ALLOCATIONS.load(Relaxed);
        if now == first {
            return;
        }
        grown += now - first;
        first = now;
        assert!(
            grown <= RUNS_MAX * ALLOCATIONS_PER_RUN,
            "{grown} allocations in {rounds} rounds"
        );
    }
}

fn steady_state(max_pipes: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let toy = Toy::new(Mode::Passthrough, listener.local_addr().expect("bound"));
    serving(toy, max_pipes, |client, running| {
        let (upstream, _) = listener.accept().expect("accepted");
        let work = || {
            exchange(&client, &upstream);
            bulk(&client, &upstream, 64);
            bulk(&upstream, &client, 64);
        };
        let held = most_that_is_held(&client, &upstream);
        work();
        let moved = 2000 * 64 + 128 * CHUNK;
        becomes_steady(work, running, held, moved);
        assert_eq!(running.counters().spliced > 0, max_pipes > 0);
    });
}

/// Of each stream, the far end gives back what it takes.
#[derive(Debug, Default)]
struct Echo {
    events: VecDeque<Event>,
    opened: u64,
    is_over: bool,
}

impl Carrier for Echo {
    fn set_wall_clock(&mut self, _: Instant, _: Duration) {}

    fn resolved(&mut self, _: Instant, _: Result<&[IpAddr], Refusal>) {}

    fn bound(&mut self, _: Instant, _: Path, _: Result<(), Refusal>) {}

    fn handle_datagram(&mut self, _: Instant, _: Path, _: SocketAddr, _: BytesMut) -> bool {
        false
    }

    fn poll_transmit(&mut self, _: Instant, _: usize, _: &mut BytesMut) -> Option<Transmit> {
        None
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_timeout(&self, _: Instant) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _: Instant) {}

    fn open(&mut self, _: Instant, wanted: Wanted) -> Stream {
        let Wanted::Connection(_) = wanted else {
            unreachable!("the toy asks for connections");
        };
        let stream = Stream(self.opened);
        self.opened += 1;
        let from = SocketAddr::from(([127, 0, 0, 1], 1));
        self.events.push_back(Event::Connected(stream, from));
        stream
    }

    fn answer(&mut self, _: Instant, _: Stream, _: Result<SocketAddr, Refusal>) {}

    fn exchange(
        &mut self,
        _: Instant,
        _: Stream,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) -> Progress {
        let moved = to_send.transfer(received);
        self.is_over |= received.end() != End::Open;
        moved
    }

    fn is_open(&self, _: Stream) -> bool {
        !self.is_over
    }

    fn abandon(&mut self, _: Instant, _: Stream) {
        self.is_over = true;
    }

    fn close(&mut self, _: Instant) {}
}

fn steady_state_over_a_carrier() {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let mut toy = Toy::new(Mode::Carried, nowhere);
    toy.carrier = Some(|| Box::<Echo>::default());
    serving(toy, 0, |client, running| {
        let work = || {
            exchange_with_echo(&client);
            bulk(&client, &client, 64);
        };
        let held = stall(&client);
        (&client).read_exact(&mut vec![0; held]).expect("read");
        work();
        let moved = 1000 * 64 + 64 * CHUNK;
        becomes_steady(work, running, 2 * held, 2 * moved);
    });
}

#[test]
fn a_steady_relay_allocates_nothing() {
    steady_state(8);
    steady_state(0);
    steady_state_over_a_carrier();
}
