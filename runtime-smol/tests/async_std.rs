//! Inside async-std, which some programs still use: it drives sockets by the same reactor.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]
use async_std::{
    io::{ReadExt as _, WriteExt as _},
    net::TcpStream,
    task,
};
use futures_util::future::join;
use sansbox_smol as runtime;
use sansbox_smol::Shutdown;

#[path = "../../runtime/tests-common/common.rs"]
mod common;
#[path = "../../runtime/tests-common/embed.rs"]
mod embed;

#[test]
fn a_worker_serves_inside_async_std() {
    embed::serve_on(task::block_on);
}

#[test]
fn a_worker_serves_on_one_thread_with_its_client_inside_async_std() {
    let (running, worker, listener, notes) = embed::embedded();
    let address = running.bound()[0].address;
    let listener = async_std::net::TcpListener::from(listener);
    let client = async {
        let mut client = TcpStream::connect(address).await.expect("connected");
        let (mut upstream, _) = listener.accept().await.expect("accepted");
        let mut bytes = vec![0; 300_000];
        for chunk in [10, 300_000] {
            let (sent, received) = join(
                client.write_all(&vec![7; chunk]),
                upstream.read_exact(&mut bytes[..chunk]),
            )
            .await;
            sent.expect("written");
            received.expect("read");
        }
        assert!(bytes.iter().all(|byte| *byte == 7));
        drop((client, upstream));
        task::sleep(std::time::Duration::from_millis(10)).await;
        running.begin_stop(Shutdown {
            grace: std::time::Duration::from_secs(20),
            ..Shutdown::default()
        });
    };
    let (served, ()) = task::block_on(join(worker.run(), client));
    served.expect("served");
    let records = notes.wait_closed(1);
    assert_eq!(records[0].bytes_up, 300_010);
}
