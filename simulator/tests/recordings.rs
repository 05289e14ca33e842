//! Every recording in `recordings/` replays: connections of real clients, as they once were.
//!
//! A machine that was changed on purpose makes other bytes than it made then. `BLESS=1` writes
//! the digests of this build into the recordings, where what was recorded still fits; where it
//! does not, the connection has to be recorded anew.
use sansbox_flight::Recording;
use sansbox_simulator::record::{Verdict, bless, plan, replay, tracks};
use std::{
    fs,
    path::{Path, PathBuf},
};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings");
    let entries = fs::read_dir(folder).expect("the folder of the recordings");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "sbx"));
    files.sort();
    files
}

fn read(path: &Path) -> Recording {
    let bytes = fs::read(path).expect("the recording");
    Recording::read(&bytes, None).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What is wrong with a recording; nothing when it replays.
fn wrong(path: &Path) -> Option<String> {
    let recording = read(path);
    let plan = plan(&recording).expect("a plan");
    let tracks = tracks(&recording);
    assert!(!tracks.is_empty(), "{} is empty", path.display());
    tracks.iter().find_map(|(id, track)| {
        let verdict = replay(&plan, track, &mut |_| {});
        let is_well = matches!(verdict, Verdict::Identical(replayed) if replayed.inputs > 3);
        (!is_well).then(|| format!("{}: connection {id}: {verdict:?}", path.display()))
    })
}

#[test]
fn every_recording_replays() {
    let files = files();
    assert!(files.len() >= 2, "{files:?}");
    let blesses = std::env::var_os("BLESS").is_some();
    for path in &files {
        if blesses && wrong(path).is_some() {
            let blessed = bless(&read(path)).expect("what was recorded still fits");
            fs::write(path, blessed).expect("write the recording");
        }
    }
    let wrong: Vec<String> = files.iter().filter_map(|path| wrong(path)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
