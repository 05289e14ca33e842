//! All plain scenarios hold on the engine's own loop as well.
use crate::{scenario, world::Setup};

/// Scenarios of what this loop, which waits for readiness as a runtime does, is not meant to do.
const OTHERWISE: &[&str] = &[
    // A socket whose FIN was read is not read again: that it was reset shows when it is written.
    "client_resets_half_closed",
    // A daemon that is told to stop does not only end what runs: it listens no more.
    "udp_association_upstream_dies",
];

#[test]
fn every_scenario_holds_on_the_engines_own_loop() {
    let mut failed = Vec::new();
    let of_host = |s: &scenario::Scenario| !OTHERWISE.contains(&s.name);
    for scenario in scenario::all().into_iter().filter(of_host) {
        for seed in 0..4 {
            let report = scenario.run(Setup {
                seed,
                daemon: true,
                ..Setup::default()
            });
            if let Err(violation) = report.outcome {
                failed.push(format!("{} --seed {seed}: {violation}", scenario.name));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
