//! Runs every committed input through its target: what was found once stays fixed.
use std::{
    fs, panic,
    path::{Path, PathBuf},
    thread,
};

type Target = fn(&[u8]);

/// Expects to be alone with its handles, which the process counts.
const COUNTS_IN_THE_PROCESS: &str = "ffi_calls";

fn replay(name: &str, target: Target) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpora")
        .join(name);
    let entries = fs::read_dir(&folder).expect("a folder of inputs");
    let mut files: Vec<_> = entries.map(|e| e.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no inputs in {}", folder.display());
    let fails = |file: &PathBuf| {
        let data = fs::read(file).expect("a readable input");
        panic::catch_unwind(|| target(&data)).is_err()
    };
    // One corpus takes longer than all others, so each is divided.
    let parts = match name {
        COUNTS_IN_THE_PROCESS => 1,
        _ => thread::available_parallelism().map_or(1, usize::from),
    };
    let failed: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..parts)
            .map(|part| {
                let files = files.iter().skip(part).step_by(parts);
                scope.spawn(move || files.filter(|file| fails(file)).collect::<Vec<_>>())
            })
            .collect();
        let join = workers.into_iter().map(|worker| worker.join());
        join.flat_map(|part| part.expect("readable inputs"))
            .collect()
    });
    assert!(failed.is_empty(), "{name} fails on {failed:#?}");
}

macro_rules! replays {
    ($($target:ident)*) => {
        $(#[test]
        fn $target() {
            replay(stringify!($target), sansbox_fuzz::$target);
        })*

        #[test]
        fn every_corpus_has_its_target() {
            let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora");
            let entries = fs::read_dir(corpora).expect("the corpora");
            let mut names: Vec<_> = entries.map(|e| e.expect("an entry").file_name()).collect();
            names.sort();
            let mut targets = vec![$(stringify!($target)),*];
            targets.sort_unstable();
            assert_eq!(names, targets);
        }
    };
}

replays! { cbor config_reader ffi_calls http_request http_response paniq_frame paniq_link paniq_preamble paniq_profile paniq_request paniq_transport router_rules sbx_reader scenario socks4 socks5 socks_udp stack_packet stack_sequence vnet_hdr }
