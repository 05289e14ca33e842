//! Each direction ends by itself.
use super::{lab::*, scenarios};
use crate::peers::Script;
use core::time::Duration;
use sansbox_engine::record::CloseReason::Completed;

const LEN: u64 = 10_000;

scenarios! {
    /// The client ends first; the answer that comes later is still delivered whole.
    fn half_close_by_client(world) {
        proxy(world, &plain())?;
        let talk = Script::new().upload("up", LEN).fin("up");
        client(world, SOCKS, socks5_connect(ORIGIN).and(talk).download("down", LEN).expect_fin("down"));
        origin(world, |_| {
            let hear = Script::new().download("up", LEN).expect_fin("up");
            hear.sleep(Duration::from_secs(30)).upload("down", LEN).fin("down")
        });
        run(world, &[Completed])
    }

    /// The origin ends first; what the client sends later is still delivered whole.
    fn half_close_by_origin(world) {
        proxy(world, &plain())?;
        let hear = Script::new().download("down", LEN).expect_fin("down");
        let talk = hear.sleep(Duration::from_secs(30)).upload("up", LEN).fin("up");
        client(world, HTTP, http_connect(ORIGIN).and(talk));
        origin(world, |_| {
            let talk = Script::new().upload("down", LEN).fin("down");
            talk.download("up", LEN).expect_fin("up")
        });
        run(world, &[Completed])
    }

    /// Both end at the same time.
    fn half_close_by_both(world) {
        proxy(world, &plain())?;
        let talk = Script::new().upload("up", LEN).fin("up");
        client(world, SOCKS, socks5_connect(ORIGIN).and(talk).download("down", LEN).expect_fin("down"));
        origin(world, |_| {
            let talk = Script::new().upload("down", LEN).fin("down");
            talk.download("up", LEN).expect_fin("up")
        });
        run(world, &[Completed])
    }

    /// A half-closed relay that nobody uses any more ends after its shorter idle time.
    #[sometimes("closed IdleTimeout")]
    fn half_closed_and_idle(world) {
        proxy(world, &plain())?;
        let talk = Script::new().upload("up", LEN).fin("up");
        client(world, SOCKS, socks5_connect(ORIGIN).and(talk).then(crate::peers::Step::ExpectReset));
        origin(world, |_| {
            let hear = Script::new().download("up", LEN).expect_fin("up");
            hear.then(crate::peers::Step::ExpectReset)
        });
        run(world, &[sansbox_engine::record::CloseReason::IdleTimeout])
    }
}
