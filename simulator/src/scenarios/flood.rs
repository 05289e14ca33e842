//! Clients that send much before they are allowed to.
use super::{lab::*, scenarios};
use crate::{
    peers::{Exchange, Script, Step},
    tcp::Reach,
};
use core::time::Duration;
use sansbox_core::Refusal;
use sansbox_engine::record::CloseReason::{Completed, Refused};

/// Bytes that the pipes of one session may hold: four of 64 KiB, and one read each.
const BUFFERED_MAX: usize = 4 * (80 << 10);

scenarios! {
    /// Payload that floods in while a slow dial runs is held back, then delivered whole.
    fn flood_before_connected(world) {
        proxy(world, &plain())?;
        world.reach(addr(ORIGIN), Reach::Slow(Duration::from_secs(3)));
        let request = [&[5, 1, 0][..], &socks5_request(1, ORIGIN)].concat();
        let ask = Script::new().send(request).upload("up", 300_000).fin("up");
        let hear = ask.expect([5, 0, 5, 0, 0, 1]).then(Step::Skip(6));
        client(world, SOCKS, hear.expect_fin("down"));
        origin(world, |_| Script::new().download("up", 300_000).expect_fin("up").fin("down"));
        run(world, &[Completed])?;
        let held = world.closed().first().map(|c| c.buffered_max);
        world.expect(held.is_some_and(|n| n < BUFFERED_MAX), format!("{held:?} bytes held"))
    }

    /// A refusal reaches a client that is still sending payload.
    fn flood_behind_a_refused_request(world) {
        proxy(world, &plain())?;
        world.reach(addr(ORIGIN), Reach::Refused);
        let socks = [&[5, 1, 0][..], &socks5_request(1, ORIGIN), &[7; 50_000]].concat();
        let socks = Script::new().send(socks).expect([5, 0]).expect(socks5_refusal(5));
        let http = [connect_request(ORIGIN).as_bytes(), &[7; 50_000]].concat();
        let http = Script::new().send(http).expect_head("HTTP/1.1 502 ");
        clients(world, MIXED, [socks.then(Step::ExpectEnd), http.then(Step::ExpectEnd)]);
        run(world, &[Refused(Refusal::ConnectionRefused); 2])
    }

    /// A reader that pauses for a minute in the middle gets everything afterwards.
    fn pause_in_the_middle(world) {
        proxy(world, &plain())?;
        let first = socks5_connect(ORIGIN).download("down", 50_000);
        let pause = first.sleep(Duration::from_secs(60));
        client(world, SOCKS, pause.download("down", 250_000).fin("up").expect_fin("down"));
        origin(world, |_| {
            let all = Step::Exchange(Exchange {
                up: Some(("down".into(), 300_000)),
                ..Exchange::default()
            });
            Script::of([all]).fin("down").expect_fin("up")
        });
        run(world, &[Completed])
    }
}
