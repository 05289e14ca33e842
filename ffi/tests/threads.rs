//! Handles may be used by any threads at once, freed ones included.
use sansbox_ffi::{
    door::{feed::*, machine::*, plan::*},
    status::Status,
    types::Address,
};
use std::{net::SocketAddr, thread};

const CONFIG: &[u8] = br#"{"inbounds": [{"type": "mixed"}]}"#;
const THREADS: u64 = 4;
const ROUNDS: u64 = 2000;

#[expect(unsafe_code, reason = "calls the interface as C does")]
fn make() -> (u64, u64) {
    let peer = Address::from(SocketAddr::from(([127, 0, 0, 1], 5)));
    let (seed, mut plan, mut machine) = ([1; SEED_SIZE], 0, 0);
    // SAFETY: all pointers are to what stands here; text of length 0 may be null.
    unsafe {
        let json = CONFIG.as_ptr().cast();
        let text = std::ptr::null_mut();
        let status = sansbox_plan_new(json, CONFIG.len(), text, 0, &raw mut plan);
        assert_eq!(status, Status::Ok);
        let (at, seed) = (&raw const peer, seed.as_ptr());
        let status = sansbox_session_new(plan, 0, at, at, seed, 0, &raw mut machine);
        assert_eq!(status, Status::Ok);
    }
    (plan, machine)
}

#[expect(unsafe_code, reason = "calls the interface as C does")]
fn receive(machine: u64, now: u64) -> (Status, usize) {
    let mut taken = 0;
    // SAFETY: all pointers are to what stands here.
    let status =
        unsafe { sansbox_machine_received(machine, now, 0, [5].as_ptr(), 1, &raw mut taken) };
    (status, taken)
}

#[test]
fn calls_for_one_machine_take_turns() {
    let (plan, machine) = make();
    let taken: usize = thread::scope(|scope| {
        let run = || (0..ROUNDS).map(|_| receive(machine, 0).1).sum::<usize>();
        let threads = [(); THREADS as usize].map(|()| scope.spawn(run));
        threads
            .into_iter()
            .map(|t| t.join().expect("no panic"))
            .sum()
    });
    assert!(taken > 0);
    assert_eq!(sansbox_machine_tick(machine, 1), Status::Ok);
    assert_eq!(sansbox_machine_tick(machine, 0), Status::BadTime);
    assert_eq!(sansbox_machine_free(machine), Status::Ok);
    assert_eq!(sansbox_plan_free(plan), Status::Ok);
}

#[test]
fn a_machine_may_be_freed_under_another_threads_call() {
    for _ in 0..ROUNDS / 10 {
        let (plan, machine) = make();
        let freed: usize = thread::scope(|scope| {
            let run = || {
                while sansbox_machine_tick(machine, 0) == Status::Ok {
                    if sansbox_machine_free(machine) == Status::Ok {
                        return 1;
                    }
                }
                assert_eq!(receive(machine, 0).0, Status::BadHandle);
                0
            };
            let threads = [(); THREADS as usize].map(|()| scope.spawn(run));
            threads
                .into_iter()
                .map(|t| t.join().expect("no panic"))
                .sum()
        });
        assert_eq!(freed, 1, "exactly one thread frees it");
        assert_eq!(sansbox_plan_free(plan), Status::Ok);
    }
}
