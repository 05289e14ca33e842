//! Profiles of paniq.
use crate::{proxy::command, temp::TempDir};
use serde_json::Value;
use std::{fs, path::Path};

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

/// The profile in the documents of the Go programs, which is the server's.
///
/// # Panics
/// When the vectors are not there.
#[must_use]
pub fn docs() -> Value {
    let path = "../protocols/tests/vectors/paniq/docs_profile.json";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = fs::read_to_string(path).expect("a profile");
    text.parse().expect("JSON")
}

/// A profile with other values in one of its objects.
///
/// # Panics
/// When `changes` is no object.
#[must_use]
pub fn with(mut profile: Value, object: &str, changes: &Value) -> Value {
    for (name, value) in changes.as_object().expect("an object") {
        profile[object][name] = value.clone();
    }
    profile
}

/// [`docs`] with no key, and no proof but a time in a signature.
///
/// # Panics
/// As [`docs`].
#[must_use]
pub fn keyless() -> Value {
    let mut profile = docs();
    let obfuscation = profile["obfuscation"].as_object_mut().expect("an object");
    for name in [
        "server_private_key",
        "server_public_key",
        "encrypted_timestamp",
        "require_encrypted_timestamp",
    ] {
        obfuscation.remove(name);
    }
    profile
}
