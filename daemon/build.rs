//! Hands the compiler's version and the commit to `sansbox version`.
use std::{env, process::Command};

fn main() {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = said(Command::new(rustc).arg("--version"));
    let version = version.and_then(|line| Some(line.split(' ').nth(1)?.to_owned()));
    println!(
        "cargo:rustc-env=SANSBOX_RUSTC={}",
        version.as_deref().unwrap_or("unknown")
    );
    let commit = said(Command::new("git").args(["rev-parse", "HEAD"]));
    println!(
        "cargo:rustc-env=SANSBOX_REVISION={}",
        commit.as_deref().unwrap_or_default()
    );
    // Written by git whenever HEAD moves.
    match said(Command::new("git").args(["rev-parse", "--git-path", "logs/HEAD"])) {
        Some(path) => println!("cargo:rerun-if-changed={path}"),
        None => println!("cargo:rerun-if-changed=build.rs"),
    }
}

fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|o| o.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
