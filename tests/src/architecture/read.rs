//! The workspace as it stands on disk.
use super::{Package, Source, Workspace};
use serde_json::Value;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Reads manifests, lock file and sources of this workspace.
///
/// # Panics
/// When cargo cannot read the manifests or a file cannot be read.
#[must_use]
pub fn read() -> Workspace {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--offline", "--no-deps", "--format-version=1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("run cargo");
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata: {why}");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let root = PathBuf::from(text(&metadata["workspace_root"]));
    let forbidden = forbids_unsafe(&root.join("Cargo.toml"), "[workspace.lints.rust]");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let lock = fs::read_to_string(root.join("Cargo.lock")).expect("a lock file");
    Workspace {
        packages: packages
            .iter()
            .map(|package| read_package(package, &root, forbidden))
            .collect(),
        locked: locked(&lock),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn read_package(package: &Value, root: &Path, forbidden: bool) -> Package {
    let manifest = PathBuf::from(text(&package["manifest_path"]));
    let dir = manifest.parent().expect("a manifest stands in a folder");
    let dependencies = package["dependencies"].as_array().expect("a list");
    let mut sources = Vec::new();
    for folder in ["src", "build.rs"] {
        collect(&dir.join(folder), root, &mut sources);
    }
    let manifest_text = fs::read_to_string(&manifest).expect("read a manifest");
    let inherits = manifest_text.contains("[lints]\nworkspace = true");
    Package {
        name: text(&package["name"]).to_owned(),
        dependencies: dependencies
            .iter()
            .filter(|dependency| dependency["kind"] != "dev")
            .map(|dependency| text(&dependency["name"]).to_owned())
            .collect(),
        forbids_unsafe: (inherits && forbidden) || forbids_unsafe(&manifest, "[lints.rust]"),
        sources,
    }
}

/// Whether the table `section` of a manifest forbids unsafe code.
fn forbids_unsafe(manifest: &Path, section: &str) -> bool {
    let text = fs::read_to_string(manifest).expect("read a manifest");
    let Some((_, table)) = text.split_once(section) else {
        return false;
    };
    let table = table.split("\n[").next().unwrap_or_default();
    table.contains("unsafe_code = \"forbid\"")
}

/// All Rust files under `path`, which may be a file itself, but those of tests.
fn collect(path: &Path, root: &Path, sources: &mut Vec<Source>) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name == "tests" || name == "tests.rs" {
        return;
    }
    if path.is_file() && name.ends_with(".rs") {
        sources.push(Source {
            path: path
                .strip_prefix(root)
                .unwrap_or(path)
                .display()
                .to_string(),
            text: fs::read_to_string(path).expect("read a source file"),
        });
    } else if let Ok(entries) = fs::read_dir(path) {
        let mut entries: Vec<_> = entries
            .map(|entry| entry.expect("read a folder").path())
            .collect();
        entries.sort();
        for entry in entries {
            collect(&entry, root, sources);
        }
    }
}

/// Names and dependencies of the packages of a lock file that have a source: members have none,
/// and the lock file does not tell what they need to be built from what they need to be tested.
fn locked(lock: &str) -> Vec<(String, Vec<String>)> {
    lock.split("[[package]]")
        .skip(1)
        .filter(|entry| entry.contains("\nsource = "))
        .map(|entry| {
            let name = entry
                .lines()
                .find_map(|line| line.strip_prefix("name = "))
                .unwrap_or_default();
            let list = entry
                .split_once("dependencies = [")
                .map_or("", |(_, list)| list.split(']').next().unwrap_or_default());
            let dependencies = list
                .split(',')
                .map(|item| item.trim().trim_matches('"'))
                .filter(|item| !item.is_empty())
                // `name version` where there are several versions.
                .map(|item| item.split(' ').next().unwrap_or_default().to_owned())
                .collect();
            (name.trim_matches('"').to_owned(), dependencies)
        })
        .collect()
}
