//! Peers that are slow, and bytes that come one by one.
use super::{lab::*, scenarios};
use crate::{
    peers::{Exchange, Script, Step},
    tcp::{Path, Segments},
};
use core::time::Duration;
use sansbox_engine::record::CloseReason::{Completed, HandshakeTimeout};

/// Bytes that the pipes of one session may hold: four of 64 KiB, and one read each.
const BUFFERED_MAX: usize = 4 * (80 << 10);

/// Kernels that hold little, so that the proxy's own buffers are what fills up.
fn small_buffers() -> Path {
    Path {
        window: 8 << 10,
        send_buffer: 8 << 10,
        ..Path::default()
    }
}

fn slowly(bytes: Vec<u8>) -> Script {
    let step = Step::SendSlowly(bytes, Duration::from_secs(3));
    Script::new().then(step).then(Step::ExpectEnd).tolerant()
}

scenarios! {
    /// Clients that send a byte every three seconds run into the handshake's deadline.
    fn slow_loris(world) {
        proxy(world, &plain())?;
        let name = "a-long-name-that-takes-forever.example:80";
        clients(world, MIXED, [
            slowly(socks4_request(name)),
            slowly([&[5, 1, 0][..], &socks5_request(1, name)].concat()),
            slowly(connect_request(name).into_bytes()),
            slowly(get(name, "/").into_bytes()),
        ]);
        run(world, &[HandshakeTimeout; 4])?;
        let last = world.closed().last().map(|c| Duration::from_nanos(c.at.as_nanos()));
        let in_time = last.is_some_and(|at| at < Duration::from_secs(20));
        world.expect(in_time, format!("the last was given up at {last:?}"))
    }

    /// Clients that connect and say nothing run into the handshake's deadline.
    fn silent_client(world) {
        proxy(world, &plain())?;
        let silent = || Script::new().then(Step::ExpectEnd).tolerant();
        clients(world, MIXED, [silent()]);
        run(world, &[HandshakeTimeout])
    }

    /// A client that reads nothing of its refusal is given up soon, not after a relay's time.
    fn refused_client_that_reads_nothing(world) {
        world.default_path(Path { window: 4, send_buffer: 4, ..Path::default() });
        proxy(world, &plain())?;
        let deaf = Script::new().send("x").sleep(Duration::from_secs(600));
        client(world, HTTP, deaf.then(Step::ExpectReset).tolerant());
        run(world, &[HandshakeTimeout])?;
        let told = world.closed().first().map(|c| c.at.as_nanos() / 1_000_000_000);
        world.expect(told.is_some_and(|s| s < 60), format!("given up after {told:?} seconds"))
    }

    /// A reader of 1 KiB every 10 ms holds back a fast source, through passthrough.
    fn slow_reader_of_a_tunnel(world) {
        world.default_path(small_buffers());
        proxy(world, &plain())?;
        let read = Step::Exchange(Exchange {
            down: Some(("down".into(), 200_000)),
            pace: Some((1024, Duration::from_millis(10))),
            ..Exchange::default()
        });
        let talk = Script::new().fin("up").then(read).expect_fin("down");
        client(world, SOCKS, socks5_connect(ORIGIN).and(talk));
        origin(world, |_| Script::new().upload("down", 200_000).fin("down").expect_fin("up"));
        run(world, &[Completed])?;
        let held = world.closed().first().map(|c| c.buffered_max);
        world.expect(held.is_some_and(|n| n < BUFFERED_MAX), format!("{held:?} bytes held"))
    }

    /// The same through the session's own pipes: a forwarded HTTP response.
    fn slow_reader_of_a_response(world) {
        world.default_path(small_buffers());
        proxy(world, &plain())?;
        let read = Step::Exchange(Exchange {
            down: Some(("down".into(), 200_000)),
            pace: Some((1024, Duration::from_millis(10))),
            is_framed: true,
            ..Exchange::default()
        });
        let ask = Script::new().send(get(ORIGIN, "/big")).expect_head(" 200 OK");
        client(world, HTTP, ask.then(read));
        origin(world, |_| {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n";
            let hear = Script::new().expect_head("GET /big ");
            hear.send(head).upload("down", 200_000).then(Step::ExpectEnd)
        });
        run(world, &[Completed])?;
        let held = world.closed().first().map(|c| c.buffered_max);
        world.expect(held.is_some_and(|n| n < BUFFERED_MAX), format!("{held:?} bytes held"))
    }

    /// Every segment is one byte: handshakes and relays of all protocols still work.
    fn one_byte_segments(world) {
        let bytewise = Path { segments: Segments::UpTo(1), ..Path::default() };
        world.default_path(bytewise);
        proxy(world, &plain())?;
        let hello = |script: Script| script.send("hello").expect("hello");
        clients(world, MIXED, [
            hello(socks4_connect(ORIGIN)),
            hello(socks5_connect(ORIGIN)),
            hello(http_connect(ORIGIN)),
        ]);
        origin(world, |_| echo());
        run(world, &[Completed; 3])
    }

    /// Tiny windows and buffers, a thin line: slow, but nothing is lost.
    fn narrow_path(world) {
        let path = Path {
            window: 512,
            send_buffer: 300,
            rate: Some(20_000),
            latency: Duration::from_millis(80),
            ..Path::default()
        };
        world.default_path(path);
        proxy(world, &plain())?;
        client(world, SOCKS, socks5_connect(ORIGIN).and(talk(10_000)));
        origin(world, |_| answer(10_000));
        run(world, &[Completed])
    }
}
