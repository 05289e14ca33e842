//! Profiles of paniq, made by the program under test.
use crate::{proxy::command, temp::TempDir};
use serde_json::Value;
use std::fs;

/// New profiles for a server at this address and its clients, in this order.
///
/// # Panics
/// When the program makes none.
#[must_use]
pub fn profiles(proxy_addr: &str) -> [Value; 2] {
    let dir = TempDir::new();
    let output = command()
        .args(["paniq", "create-profile", "-proxy-addr", proxy_addr])
        .args(["-out", "server.json", "-client-out", "client.json"])
        .current_dir(dir.path())
        .output()
        .expect("run the program");
    assert!(output.status.success(), "{output:?}");
    ["server.json", "client.json"].map(|name| {
        let text = fs::read_to_string(dir.path().join(name)).expect("a profile");
        text.parse().expect("JSON")
    })
}
