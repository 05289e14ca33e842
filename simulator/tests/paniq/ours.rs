//! Our client and our server.
use core::time::Duration;
use sansbox_simulator::paniq::{Ended, Lab, Step, Talk};

/// Every kind of stream.
pub(crate) fn every_kind() -> Vec<Talk> {
    vec![
        Talk::fetch("fetch", 500, 40_000),
        Talk::half_closed("half", 2_000, 30_000),
        Talk::server_first("banner", 40, 300, 5_000),
        Talk::fetch("upload", 300_000, 100),
        Talk::fetch("download", 300, 500_000).at(Duration::from_millis(700)),
        Talk::refused("refused"),
        Talk::black_hole("hole"),
    ]
}

#[test]
fn every_kind_of_stream_goes_as_written() {
    for seed in 0..4 {
        let facts = Lab::ours().talks(every_kind()).run(seed, vec![]);
        for name in ["fetch", "half", "banner", "upload", "download"] {
            assert_eq!(facts.ended(name), Ended::Whole, "{name}: {facts:#?}");
        }
        for name in ["refused", "hole"] {
            assert!(matches!(facts.ended(name), Ended::Refused(_)));
        }
        assert_eq!(facts.ups.len(), 1);
        assert!(facts.downs.is_empty(), "{facts:#?}");
        assert!(
            facts
                .far
                .values()
                .flatten()
                .all(|far| far.ended == Ended::Whole)
        );
    }
}

#[test]
fn a_reset_of_the_target_comes_as_a_reset() {
    let far = [Step::Take(100), Step::Reset];
    let reset = Talk::new("reset", [Step::Send(100), Step::End], far);
    let facts = Lab::ours().talk(reset).run(1, vec![]);
    assert_eq!(facts.ended("reset"), Ended::Broken);
}
