//! Names the build that records, so that a replay knows whether it has the same machines.
//!
//! A recording replays bit for bit where the pure crates and their dependencies are the same;
//! so the name is a hash of exactly those sources, which is the same in every clone, with and
//! without git, and for every program of the workspace.
use sha2::{Digest as _, Sha256};
use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// What decides the outputs of machines, from the root of the workspace.
const DECIDES: [&str; 5] = ["Cargo.lock", "protocols", "stack", "engine", "flight"];

fn main() -> io::Result<()> {
    let root = Path::new("..");
    let mut files = Vec::new();
    for part in DECIDES {
        let path = root.join(part);
        println!("cargo:rerun-if-changed={}", path.display());
        collect(&path, &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in &files {
        let name = file.strip_prefix(root).unwrap_or(file).to_string_lossy();
        let content = fs::read(file)?;
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name.replace('\\', "/").as_bytes());
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(content);
    }
    let digest: String = hash
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    println!("cargo:rustc-env=SANSBOX_MACHINES={digest}");
    let target = env::var_os("TARGET").unwrap_or_default();
    println!("cargo:rustc-env=SANSBOX_TARGET={}", target.display());
    println!(
        "cargo:rustc-env=SANSBOX_COMMIT={}",
        git("HEAD").unwrap_or_default()
    );
    if let Some(log) = git("--git-path logs/HEAD") {
        println!("cargo:rerun-if-changed={log}");
    }
    Ok(())
}

/// Rust sources and manifests below `path`, or the file itself.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_file() {
        let is_source = path
            .extension()
            .is_some_and(|e| e == "rs" || e == "toml" || e == "lock");
        if is_source {
            files.push(path.to_owned());
        }
        return Ok(());
    }
    if path.ends_with("tests") || path.ends_with("target") {
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}

/// What `git rev-parse` says; nothing outside a clone.
fn git(arguments: &str) -> Option<String> {
    let mut command = Command::new("git");
    command.arg("rev-parse").args(arguments.split(' '));
    let output = command.output().ok().filter(|o| o.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
