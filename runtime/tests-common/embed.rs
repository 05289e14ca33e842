//! A worker on an executor of the caller's.
use crate::{
    common::{Mode, Notes, Toy},
    runtime::{Executor, Options, Reactor as _, Running, Runtime, Shutdown, Worker},
};
use sansbox_engine::record::CloseReason;
use std::{
    future::Future,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    pin::Pin,
    sync::Arc,
    thread,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A worker that relays to the listener, and what it notes.
pub(crate) fn embedded() -> (Running, Worker<Toy>, TcpListener, Arc<Notes>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let toy = Toy::new(Mode::Resolve, listener.local_addr().expect("an address"));
    let notes = Arc::new(Notes::default());
    let observer = Arc::clone(&notes);
    let (running, mut workers) =
        Runtime::embed(Arc::new(toy), Options::default(), observer).expect("bound");
    assert_eq!(workers.len(), 1);
    assert_eq!(notes.count("Bound"), 1);
    (running, workers.pop().expect("one"), listener, notes)
}

/// Serves a client on another thread, which then stops the worker.
pub(crate) fn serve_on(block_on: impl FnOnce(Pin<Box<dyn Future<Output = ()>>>)) {
    let (mut running, worker, listener, notes) = embedded();
    let client = thread::spawn(move || {
        let mut client = TcpStream::connect(running.bound()[0].address).expect("connected");
        let (mut upstream, _) = listener.accept().expect("accepted");
        for _ in 0..100 {
            let mut bytes = [0; 4];
            client.write_all(b"ping").expect("written");
            upstream.read_exact(&mut bytes).expect("read");
            upstream.write_all(b"pong").expect("written");
            client.read_exact(&mut bytes).expect("read");
            assert_eq!(&bytes, b"pong");
        }
        let cut = running.stop(Shutdown {
            grace: Duration::ZERO,
            deadline: PATIENCE,
        });
        assert_eq!(client.read(&mut [0; 4]).expect("an end"), 0);
        assert_eq!(running.counters().open, 0);
        cut
    });
    block_on(Box::pin(async { worker.run().await.expect("served") }));
    assert_eq!(client.join().expect("served"), 0);
    let records = notes.wait_closed(1);
    assert_eq!(records[0].closed, Some(CloseReason::Stopped));
    assert_eq!((records[0].bytes_up, records[0].bytes_down), (400, 400));
}

#[test]
fn a_worker_is_a_future_for_the_callers_thread() {
    serve_on(|worker| Executor::run(worker).expect("run"));
}

#[test]
fn stopping_does_not_wait_for_a_worker_that_was_dropped() {
    let (mut running, worker, _listener, _notes) = embedded();
    let address = running.bound()[0].address;
    drop(worker);
    assert_eq!(running.stop(Shutdown::default()), 0);
    TcpStream::connect(address).expect_err("closed");
}
