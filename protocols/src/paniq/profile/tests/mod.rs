//! What the recorded behaviour of the Go programs does not cover.
mod checks;
mod create;
mod formats;
mod hostile;
mod pin;

use super::*;
use sansbox_core::Seed;

/// A profile that works on both sides, as `create-profile` draws it.
fn good() -> Profile {
    let new = NewProfile {
        name: "test",
        proxy_addr: "192.0.2.1:9000",
        mtu: 1420,
    };
    new.draw(Seed::from_u64(1)).unwrap()
}

fn json(text: &str) -> Result<Profile, JsonError> {
    Profile::from_json(text.as_bytes())
}
