//! All plain scenarios hold on the engine's own loop as well.
use crate::{
    scenario::{self, Scenario},
    world::Setup,
};

/// Scenarios of what this loop, which waits for readiness as a runtime does, is not meant to do.
const OTHERWISE: &[&str] = &[
    // A socket whose FIN was read is not read again: that it was reset shows when it is written.
    "client_resets_half_closed",
    // A daemon that is told to stop does not only end what runs: it listens no more.
    "udp_association_upstream_dies",
];

/// How scenarios begin that have no choice of hosts.
const NO_PLAN: &[&str] = &["carried_", "daemon_", "quic_", "tls_", "planted_", "tun_"];

#[test]
fn every_scenario_holds_on_the_engines_own_loop() {
    let mut failed = Vec::new();
    let has_no_plan = |name: &str| NO_PLAN.iter().any(|begin| name.starts_with(begin));
    let of_host = |s: &Scenario| !OTHERWISE.contains(&s.name) && !has_no_plan(s.name);
    for scenario in scenario::all().into_iter().filter(of_host) {
        for seed in 0..2 {
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
