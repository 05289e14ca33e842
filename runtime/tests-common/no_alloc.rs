//! A relay in its steady state allocates nothing. By itself, because it counts for the process.
use crate::{
    common::{Mode, Notes, Toy, wait_for},
    runtime::{Executor, Options, Reactor as _, Runtime, Shutdown, Worker},
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    future::poll_fn,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// Allocations on counted threads.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The thread serves now.
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

/// Counts what `worker` does; what its executor does as well, if that never allocates.
async fn counted(worker: Worker<Toy>) {
    let mut serving = pin!(worker.run());
    poll_fn(|cx| {
        IS_COUNTED.set(true);
        let served = serving.as_mut().poll(cx);
        IS_COUNTED.set(crate::EXECUTOR_IS_COUNTED);
        served
    })
    .await
    .expect("served");
    IS_COUNTED.set(false);
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

fn steady_state(max_pipes: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let toy = Toy::new(Mode::Passthrough, listener.local_addr().expect("bound"));
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
    let (upstream, _) = listener.accept().expect("accepted");
    let work = || {
        exchange(&client, &upstream);
        bulk(&client, &upstream, 64);
        bulk(&upstream, &client, 64);
    };
    let at_start = ALLOCATIONS.load(Relaxed);
    let first = most_that_is_held(&client, &upstream);
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
        let expected = first + 4 * (2000 * 64 + 128 * CHUNK);
        counters.copied + counters.spliced == expected as u64
    });
    assert_eq!(ALLOCATIONS.load(Relaxed) - before, 0);
    assert_eq!(running.counters().spliced > 0, max_pipes > 0);
    running.stop(Shutdown::default());
    serving.join().expect("served").expect("run");
}

#[test]
fn a_steady_relay_allocates_nothing() {
    steady_state(8);
    steady_state(0);
}
