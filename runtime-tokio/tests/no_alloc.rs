//! A relay in its steady state allocates nothing. By itself, because it counts for the process.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]
mod common;

use common::{Mode, Toy, wait_for};
use sansbox_core::{Instant, Seed};
use sansbox_engine::{
    Peer,
    config::model::Dial,
    ids::{InboundId, OutboundId},
};
use sansbox_tokio::{InboundSockets, Options, Runtime, Service};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

/// Allocations on counted threads.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IS_COUNTED: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

fn count() {
    if IS_COUNTED.try_with(Cell::get) == Ok(true) {
        ALLOCATIONS.fetch_add(1, Relaxed);
    }
}

#[expect(unsafe_code, reason = "an allocator is unsafe to implement")]
// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counts on the threads that make sessions: the workers.
struct Counted(Arc<Toy>);

impl Service for Counted {
    type Session = common::Session;
    type Association = common::Association;

    fn inbounds(&self) -> Vec<InboundSockets> {
        self.0.inbounds()
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
    ) -> Self::Session {
        IS_COUNTED.set(true);
        self.0.session(inbound, peer, seed, now)
    }

    fn association(
        self: &Arc<Self>,
        inbound: InboundId,
        peer: Peer,
        seed: Seed,
        now: Instant,
    ) -> Self::Association {
        self.0.association(inbound, peer, seed, now)
    }
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

fn steady_state(max_pipes: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let toy = Toy::new(Mode::Passthrough, listener.local_addr().expect("bound"));
    let options = Options {
        workers: Some(1),
        max_pipes,
        ..Options::default()
    };
    let notes = Arc::new(common::Notes::default());
    let service = Arc::new(Counted(Arc::new(toy)));
    let running = Runtime::start(service, options, notes).expect("started");
    let client = TcpStream::connect(running.bound()[0].address).expect("connected");
    let (upstream, _) = listener.accept().expect("accepted");
    let work = || {
        exchange(&client, &upstream);
        bulk(&client, &upstream, 64);
        bulk(&upstream, &client, 64);
    };
    let at_start = ALLOCATIONS.load(Relaxed);
    work();
    assert!(
        ALLOCATIONS.load(Relaxed) > at_start,
        "the first buffers were not counted, so nothing is"
    );
    let before = ALLOCATIONS.load(Relaxed);
    for _ in 0..3 {
        work();
    }
    wait_for("the counts", || {
        let counters = running.counters();
        counters.copied + counters.spliced == 4 * (2000 * 64 + 128 * CHUNK as u64)
    });
    assert_eq!(ALLOCATIONS.load(Relaxed) - before, 0);
    assert_eq!(running.counters().spliced > 0, max_pipes > 0);
}

#[test]
fn a_steady_relay_allocates_nothing() {
    steady_state(8);
    steady_state(0);
}
