//! Puts the replaced functions where `dlsym` finds them: some crates look there.
use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[expect(clippy::disallowed_methods, reason = "cargo speaks through it")]
    let of_target = |name: &str| env::var(name).unwrap_or_default();
    if of_target("CARGO_CFG_TARGET_OS") == "linux" && of_target("CARGO_CFG_TARGET_ENV") == "gnu" {
        println!("cargo::rustc-link-arg-tests=-rdynamic");
    }
}
