//! smoltcp's sockets as clients over a wire on which everything goes wrong: every byte arrives
//! once and in order, both ways, and both ends agree that it is over.
mod support;

use support::run::{Outcome, world};

/// Runs seeds and names the one that fails.
fn sweep(seeds: std::ops::Range<u64>) {
    let count = seeds.end - seeds.start;
    let mut unusual = 0;
    for seed in seeds {
        let Ok(outcome) = std::panic::catch_unwind(|| world(seed).run()) else {
            panic!("seed {seed} failed");
        };
        unusual += u64::from(!matches!(outcome, Outcome::Done(_)));
    }
    assert!(
        unusual * 200 < count,
        "{unusual} worlds did not end as they should"
    );
}

#[test]
fn bytes_in_are_bytes_out_a() {
    sweep(0..700);
}

#[test]
fn bytes_in_are_bytes_out_b() {
    sweep(700..1400);
}

#[test]
fn bytes_in_are_bytes_out_c() {
    sweep(1400..2100);
}

#[test]
fn a_seed_runs_the_same_twice() {
    for seed in 0..30 {
        assert_eq!(world(seed).run(), world(seed).run());
    }
}
