//! Says which compiler and target the counts of instructions belong to.
#![allow(
    clippy::disallowed_methods,
    reason = "cargo speaks to build scripts through the environment"
)]
use std::{env, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    let version = output.map_or_else(
        |_| "an unknown rustc".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    );
    let target = env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=SANSBOX_BUILD={target}, {version}");
}
