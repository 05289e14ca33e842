//! Resets at every phase, from each side.
use super::{lab::*, scenarios};
use crate::{
    check::Closed,
    peers::{Script, Step},
};
use sansbox_engine::record::CloseReason::{self, ClientLeft, ClientReset, UpstreamReset};

fn by_client(closed: &Closed) -> bool {
    matches!(closed.reason, Some(ClientReset | ClientLeft))
}

scenarios! {
    /// The client resets after every byte of its SOCKS5 handshake.
    fn client_resets_during_handshake(world) {
        proxy(world, &plain())?;
        let whole = socks5().send(socks5_request(1, ORIGIN));
        let count = whole.sent_len();
        clients(world, SOCKS, (0..count).map(|n| whole.cut(n, Step::Reset)));
        run_all(world, count, by_client)
    }

    /// The client resets while bytes move both ways.
    fn client_resets_relay(world) {
        proxy(world, &plain())?;
        let talk = Script::new().exchange("up", "down", 5000).then(Step::Reset);
        client(world, SOCKS, socks5_connect(ORIGIN).and(talk));
        origin(world, |_| {
            Script::new().exchange("down", "up", 50_000).tolerant()
        });
        run(world, &[ClientReset])
    }

    /// The origin resets while bytes move both ways; the client sees a reset, not an end.
    fn origin_resets_relay(world) {
        proxy(world, &plain())?;
        let talk = Script::new().exchange("up", "down", 5000).then(Step::ExpectReset);
        client(world, HTTP, http_connect(ORIGIN).and(talk));
        origin(world, |_| {
            let talk = Script::new().exchange("down", "up", 5000);
            talk.sleep(core::time::Duration::from_secs(1)).then(Step::Reset)
        });
        run(world, &[UpstreamReset])
    }

    /// The origin resets right after it accepted; the client sees that it is over.
    fn origin_resets_at_once(world) {
        proxy(world, &plain())?;
        client(world, SOCKS, socks5_connect(ORIGIN).then(Step::ExpectEnd).tolerant());
        origin(world, |_| Script::new().then(Step::Reset));
        run_all(world, 1, |closed| {
            let refused = CloseReason::Refused(sansbox_core::Refusal::ConnectionRefused);
            closed.reason == Some(UpstreamReset) || closed.reason == Some(refused)
        })
    }

    /// The client resets a half-closed relay from which it still receives.
    fn client_resets_half_closed(world) {
        proxy(world, &plain())?;
        let talk = Script::new().upload("up", 100).fin("up").download("down", 100);
        client(world, SOCKS, socks5_connect(ORIGIN).and(talk).then(Step::Reset));
        origin(world, |_| {
            let hear = Script::new().download("up", 100).expect_fin("up");
            hear.upload("down", 100_000).then(Step::ExpectEnd).tolerant()
        });
        run(world, &[ClientReset])
    }
}
