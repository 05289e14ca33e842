//! Whatever a caller does with numbers, handles, order and content is a status and changes
//! nothing; and the calls that are right go on working.
#![expect(unsafe_code, reason = "calls the interface as C does")]
use sansbox_ffi::{
    ACTIONS_MAX,
    door::{feed::*, instance::*, machine::*, plan::*, version::*},
    status::Status,
    types::{Action, ActionKind, Address, Bound, CloseKind, EndKind, NO_OUTBOUND, Record, Stats},
};
use std::{
    ffi::{CStr, c_char},
    net::SocketAddr,
    ptr::{null, null_mut},
};

const SOCKS: &str = r#"{"inbounds": [{"type": "socks"}]}"#;
const UDP: &str = r#"{"inbounds": [{"type": "direct", "network": "udp",
    "override_address": "192.0.2.9", "override_port": 53}]}"#;

fn address(text: &str) -> Address {
    text.parse::<SocketAddr>().expect("an address").into()
}

fn plan_of(json: &[u8]) -> (Status, u64, String) {
    let (mut text, mut plan) = ([0; 400], 0);
    // SAFETY: all pointers are to what stands here.
    let status = unsafe {
        sansbox_plan_new(
            json.as_ptr().cast(),
            json.len(),
            text.as_mut_ptr(),
            text.len(),
            &raw mut plan,
        )
    };
    // SAFETY: the text ends in a zero, or is the zeros that were there.
    let text = unsafe { CStr::from_ptr(text.as_ptr()) };
    (status, plan, text.to_string_lossy().into_owned())
}

fn plan(json: &str) -> u64 {
    let (status, plan, text) = plan_of(json.as_bytes());
    assert_eq!(status, Status::Ok, "{text}");
    plan
}

type New = unsafe extern "C" fn(
    u64,
    u32,
    *const Address,
    *const Address,
    *const u8,
    u64,
    *mut u64,
) -> Status;

fn make(new: New, plan: u64, inbound: u32, remote: Address) -> (Status, u64) {
    let (local, seed, mut machine) = (address("127.0.0.1:1080"), [1; SEED_SIZE], 0);
    // SAFETY: all pointers are to what stands here.
    let status = unsafe {
        new(
            plan,
            inbound,
            &raw const remote,
            &raw const local,
            seed.as_ptr(),
            100,
            &raw mut machine,
        )
    };
    (status, machine)
}

fn session(json: &str) -> u64 {
    let plan = plan(json);
    let (status, machine) = make(sansbox_session_new, plan, 0, address("127.0.0.1:5"));
    assert_eq!(status, Status::Ok);
    assert_eq!(sansbox_plan_free(plan), Status::Ok);
    machine
}

fn receive(machine: u64, slot: u32, bytes: &[u8]) -> (Status, usize) {
    let mut taken = 77;
    // SAFETY: all pointers are to what stands here.
    let status = unsafe {
        sansbox_machine_received(
            machine,
            100,
            slot,
            bytes.as_ptr(),
            bytes.len(),
            &raw mut taken,
        )
    };
    (status, taken)
}

fn poll(machine: u64, data: &mut [u8]) -> (Status, Action) {
    let mut action = Action::default();
    // SAFETY: all pointers are to what stands here.
    let status = unsafe {
        sansbox_machine_poll_action(machine, &raw mut action, data.as_mut_ptr(), data.len())
    };
    (status, action)
}

/// The next action that is no line of a log.
fn action(machine: u64) -> Option<Action> {
    std::iter::from_fn(|| {
        let (status, action) = poll(machine, &mut []);
        (status == Status::Ok).then_some(action)
    })
    .find(|action| action.kind != ActionKind::Log)
}

/// What waits to be sent; taken as a kernel would.
fn take(machine: u64, slot: u32) -> Vec<u8> {
    let (mut bytes, mut len, mut waiting, mut end) = ([0; 100], 0, 0, EndKind::Open);
    // SAFETY: all pointers are to what stands here.
    let status = unsafe {
        sansbox_machine_peek(
            machine,
            slot,
            bytes.as_mut_ptr(),
            bytes.len(),
            &raw mut len,
            &raw mut waiting,
            &raw mut end,
        )
    };
    assert_eq!((status, len), (Status::Ok, waiting));
    assert_eq!(sansbox_machine_drained(machine, 100, slot, len), Status::Ok);
    bytes.into_iter().take(len).collect()
}

fn record(machine: u64) -> (Status, Record) {
    let mut record = Record::default();
    // SAFETY: the pointer is to what stands here.
    let status = unsafe { sansbox_machine_record(machine, &raw mut record) };
    (status, record)
}

fn connected(machine: u64, id: u32, local: Address) -> Status {
    // SAFETY: the pointer is to what stands here.
    unsafe { sansbox_machine_connected(machine, 100, id, &raw const local) }
}

fn resolved(machine: u64, id: u32, addresses: &[Address]) -> Status {
    let (at, count) = (addresses.as_ptr(), addresses.len());
    // SAFETY: the pointer is to what stands here.
    unsafe { sansbox_machine_resolved(machine, 100, id, at, count) }
}

fn datagram(machine: u64, slot: u32, bytes: &[u8]) -> Status {
    let from = address("127.0.0.1:5");
    let (at, len) = (bytes.as_ptr(), bytes.len());
    // SAFETY: all pointers are to what stands here.
    unsafe { sansbox_machine_datagram(machine, 100, slot, &raw const from, at, len) }
}

/// A session that has asked for a dial: the action.
fn dialling(machine: u64) -> Action {
    assert_eq!(receive(machine, 0, &[5, 1, 0]), (Status::Ok, 3));
    assert_eq!(take(machine, 0), [5, 0]);
    let request = [5, 1, 0, 1, 192, 0, 2, 7, 0, 80];
    assert_eq!(receive(machine, 0, &request), (Status::Ok, 10));
    let dial = action(machine).expect("a dial");
    assert_eq!(dial.kind, ActionKind::Dial);
    assert_eq!(dial.address, address("192.0.2.7:80"));
    dial
}

#[test]
fn null_pointers_are_refused_by_every_function() {
    let (plan, machine) = (plan(SOCKS), session(SOCKS));
    let none = Status::NullPointer;
    let (mut size, mut handle) = (0_usize, 0_u64);
    let here = address("127.0.0.1:1");
    let (here, size, handle) = (&raw const here, &raw mut size, &raw mut handle);
    // SAFETY: null is allowed, and the other pointers are to what stands here.
    let statuses = unsafe {
        [
            sansbox_handle_count(null_mut()),
            sansbox_plan_new(null(), 0, null_mut(), 0, null_mut()),
            sansbox_plan_new(null(), 5, null_mut(), 0, handle),
            sansbox_plan_new(null(), 0, null_mut(), 5, handle),
            sansbox_plan_counts(plan, null_mut(), null_mut()),
            sansbox_plan_inbound(plan, 0, null_mut()),
            sansbox_plan_outbound(plan, 0, null_mut()),
            sansbox_session_new(plan, 0, null(), here, null(), 0, handle),
            sansbox_session_new(plan, 0, here, null(), null(), 0, handle),
            sansbox_session_new(plan, 0, here, here, null(), 0, handle),
            sansbox_association_new(plan, 0, here, here, null(), 0, null_mut()),
            sansbox_machine_poll_action(machine, null_mut(), null_mut(), 0),
            sansbox_machine_room(machine, 0, null_mut()),
            sansbox_machine_peek(machine, 0, null_mut(), 1, size, size, null_mut()),
            sansbox_machine_peek(machine, 0, null_mut(), 0, size, size, null_mut()),
            sansbox_machine_deadline(machine, null_mut()),
            sansbox_machine_record(machine, null_mut()),
            sansbox_machine_received(machine, 100, 0, null(), 1, size),
            sansbox_machine_received(machine, 100, 0, null(), 0, null_mut()),
            sansbox_machine_datagram(machine, 100, 0, null(), null(), 0),
            sansbox_machine_resolved(machine, 100, 0, null(), 1),
            sansbox_machine_connected(machine, 100, 0, null()),
            sansbox_start(null(), 0, null_mut(), 0, null_mut()),
            sansbox_start(null(), 1, null_mut(), 0, handle),
            sansbox_stats(0, null_mut()),
            sansbox_bound(0, 0, null_mut()),
            sansbox_log(0, null_mut(), 0, null_mut()),
        ]
    };
    assert_eq!(statuses, [none; 27]);
    assert_eq!(dialling(machine).slot, 1, "the machine is as it was");
}

#[test]
fn freed_and_foreign_handles_are_refused_by_every_function() {
    let (plan, machine) = (plan(SOCKS), session(SOCKS));
    assert_eq!(
        sansbox_machine_free(plan),
        Status::BadHandle,
        "a plan is no machine"
    );
    assert_eq!(sansbox_plan_free(machine), Status::BadHandle);
    assert_eq!(sansbox_machine_tick(plan, 100), Status::BadHandle);
    assert_eq!(sansbox_machine_free(machine), Status::Ok);
    assert_eq!(sansbox_plan_free(plan), Status::Ok);
    let bad = Status::BadHandle;
    let (mut stats, mut bound, mut size) = (Stats::default(), Bound::default(), 0);
    let (stats, bound, size) = (&raw mut stats, &raw mut bound, &raw mut size);
    let (mut counts, mut at) = ([0; 2], 0);
    let [inbounds, outbounds] = &mut counts;
    for handle in [plan, machine, 0, u64::MAX] {
        assert_eq!(
            make(sansbox_session_new, handle, 0, address("127.0.0.1:5")).0,
            bad
        );
        assert_eq!(poll(handle, &mut []).0, bad);
        assert_eq!(receive(handle, 0, b"x"), (bad, 77));
        assert_eq!(record(handle).0, bad);
        assert_eq!(connected(handle, 0, address("127.0.0.1:5")), bad);
        assert_eq!(resolved(handle, 0, &[address("127.0.0.1:5")]), bad);
        assert_eq!(datagram(handle, 0, b""), bad);
        assert_eq!(sansbox_machine_free(handle), bad);
        assert_eq!(sansbox_plan_free(handle), bad);
        assert_eq!(sansbox_machine_tick(handle, 100), bad);
        assert_eq!(sansbox_machine_stop(handle, 100), bad);
        assert_eq!(sansbox_machine_drained(handle, 100, 0, 0), bad);
        assert_eq!(sansbox_machine_ended(handle, 100, 0, 1), bad);
        assert_eq!(sansbox_machine_failed(handle, 100, 0, 1), bad);
        assert_eq!(sansbox_machine_relayed(handle, 100, 0, 1), bad);
        // SAFETY: all pointers are to what stands here, or null where that is allowed.
        unsafe {
            assert_eq!(sansbox_plan_counts(handle, inbounds, outbounds), bad);
            assert_eq!(sansbox_machine_room(handle, 0, size), bad);
            assert_eq!(sansbox_machine_deadline(handle, &raw mut at), bad);
            assert_eq!(sansbox_stats(handle, stats), bad);
            assert_eq!(sansbox_bound(handle, 0, bound), bad);
            assert_eq!(sansbox_log(handle, null_mut(), 0, size), bad);
            assert_eq!(sansbox_stop(handle, 0, 0, null_mut()), bad);
        }
    }
}

#[test]
fn numbers_out_of_range_are_refused() {
    let (tcp, udp) = (plan(SOCKS), plan(UDP));
    let client = address("127.0.0.1:5");
    let bad = (Status::BadArgument, 0);
    assert_eq!(make(sansbox_session_new, tcp, 1, client), bad);
    assert_eq!(make(sansbox_session_new, tcp, u32::MAX, client), bad);
    assert_eq!(
        make(sansbox_session_new, udp, 0, client),
        bad,
        "no TCP there"
    );
    assert_eq!(
        make(sansbox_association_new, tcp, 0, client),
        bad,
        "no UDP there"
    );
    let family = Address {
        family: 2,
        ..client
    };
    assert_eq!(make(sansbox_session_new, tcp, 0, family), bad);
    let (machine, bad) = (session(SOCKS), Status::BadArgument);
    for end in [0, 3, u32::MAX] {
        assert_eq!(sansbox_machine_ended(machine, 100, 0, end), bad);
    }
    for why in [0, 19, u32::MAX] {
        assert_eq!(sansbox_machine_failed(machine, 100, 0, why), bad);
    }
    assert_eq!(
        sansbox_machine_drained(machine, 100, 0, 1),
        bad,
        "nothing waits"
    );
    assert_eq!(resolved(machine, 0, &[]), bad);
    assert_eq!(resolved(machine, 0, &[client; 257]), bad);
    assert_eq!(resolved(machine, 0, &[family]), bad);
    assert_eq!(connected(machine, 0, family), bad);
    let huge = isize::MAX as usize + 1;
    let mut taken = 0;
    // SAFETY: the length is refused before anything is read.
    let status =
        unsafe { sansbox_machine_received(machine, 100, 0, [0].as_ptr(), huge, &raw mut taken) };
    assert_eq!(status, bad);
    assert_eq!(dialling(machine).slot, 1, "the machine is as it was");
}

#[test]
fn configurations_are_refused_with_their_place() {
    let (status, _, text) = plan_of(b"{\"inbounds\": [{\"type\": \"sox\"}]}");
    assert_eq!(status, Status::BadConfig);
    assert!(
        text.contains("inbounds[0].type") && text.contains("config:1:"),
        "{text}"
    );
    let (status, _, text) = plan_of(b"{\"log\": \"\xFF\"}");
    assert_eq!(status, Status::BadUtf8);
    assert!(text.contains("invalid utf-8"), "{text}");
    let (status, plan, _) = plan_of(b"{}");
    assert_eq!(status, Status::Ok);
    assert_eq!(sansbox_plan_free(plan), Status::Ok);

    let json = "{\"log\": {\"output\": \"x.log\"}}";
    let (mut text, mut instance) = ([0; 100], 0);
    // SAFETY: all pointers are to what stands here.
    let status = unsafe {
        sansbox_start(
            json.as_ptr().cast::<c_char>(),
            json.len(),
            text.as_mut_ptr(),
            text.len(),
            &raw mut instance,
        )
    };
    assert_eq!(status, Status::BadConfig);
    // SAFETY: the text ends in a zero.
    let text = unsafe { CStr::from_ptr(text.as_ptr()) };
    assert!(text.to_string_lossy().contains("log.output"), "{text:?}");
}

#[test]
fn inputs_in_the_wrong_order_are_refused() {
    let machine = session(SOCKS);
    assert_eq!(
        receive(machine, 1, b"x"),
        (Status::BadSlot, 77),
        "not dialled yet"
    );
    assert_eq!(sansbox_machine_relayed(machine, 100, 0, 1), Status::BadSlot);
    assert_eq!(datagram(machine, 0, b"x"), Status::BadSlot, "a stream");
    assert_eq!(sansbox_machine_tick(machine, 99), Status::BadTime);
    assert_eq!(
        connected(machine, 0, address("127.0.0.1:5")),
        Status::BadOrder
    );
    let dial = dialling(machine);
    assert_eq!(
        resolved(machine, dial.id, &[dial.address]),
        Status::BadOrder,
        "a dial"
    );
    assert_eq!(
        receive(machine, dial.slot, b"x").0,
        Status::BadSlot,
        "not connected"
    );
    assert_eq!(
        connected(machine, dial.id, address("127.0.0.1:4000")),
        Status::Ok
    );
    assert_eq!(
        connected(machine, dial.id, address("127.0.0.1:4000")),
        Status::BadOrder
    );
    assert_eq!(
        sansbox_machine_failed(machine, 100, dial.id, 1),
        Status::BadOrder
    );
    assert_eq!(action(machine).map(|next| next.kind), None);
    assert_eq!(sansbox_machine_free(machine), Status::Ok);
}

#[test]
fn what_passthrough_refuses_and_how_it_ends() {
    let machine = session(SOCKS);
    let dial = dialling(machine);
    let local = address("127.0.0.1:4000");
    assert_eq!(connected(machine, dial.id, local), Status::Ok);
    assert_eq!(take(machine, 0), [5, 0, 0, 1, 127, 0, 0, 1, 0x0F, 0xA0]);
    let passthrough = action(machine).expect("both ends are plain");
    assert_eq!(passthrough.kind, ActionKind::Passthrough);
    assert_eq!((passthrough.slot, passthrough.other), (0, dial.slot));
    assert_eq!(
        receive(machine, 0, b"x").0,
        Status::BadSlot,
        "the bytes go past it"
    );
    assert_eq!(sansbox_machine_drained(machine, 100, 0, 0), Status::BadSlot);
    assert_eq!(sansbox_machine_relayed(machine, 100, 0, 10), Status::Ok);
    assert_eq!(
        sansbox_machine_relayed(machine, 100, 0, u64::MAX),
        Status::BadArgument
    );
    assert_eq!(sansbox_machine_ended(machine, 100, 0, 1), Status::Ok);
    assert_eq!(
        sansbox_machine_ended(machine, 100, 0, 1),
        Status::BadOrder,
        "twice"
    );
    assert_eq!(record(machine).1.finished, 0);
    assert_eq!(
        sansbox_machine_ended(machine, 100, dial.slot, 1),
        Status::Ok
    );
    assert_eq!(
        sansbox_machine_ended(machine, 100, dial.slot, 2),
        Status::BadSlot,
        "closed"
    );
    for slot in [0, dial.slot] {
        let close = action(machine).expect("both are closed");
        assert_eq!(
            (close.kind, close.slot, close.end),
            (ActionKind::Close, slot, EndKind::Fin)
        );
    }
    assert!(action(machine).is_none());
    let (_, end) = record(machine);
    assert_eq!(
        (end.closed, end.bytes_up, end.finished),
        (CloseKind::Completed, 10, 1)
    );
    assert_eq!(sansbox_machine_tick(machine, 200), Status::Ok);
    assert_eq!(sansbox_machine_stop(machine, 200), Status::Ok);
    assert_eq!(sansbox_machine_free(machine), Status::Ok);
}

#[test]
fn a_machine_takes_no_more_than_it_has_room_for() {
    let machine = session(SOCKS);
    dialling(machine);
    let mut room = 0;
    // SAFETY: the pointer is to what stands here.
    let status = unsafe { sansbox_machine_room(machine, 0, &raw mut room) };
    assert_eq!(status, Status::Ok);
    let flood = vec![0; room + 1000];
    let (status, first) = receive(machine, 0, &flood);
    assert_eq!(status, Status::Ok);
    let all: usize = std::iter::repeat_with(|| receive(machine, 0, &flood).1)
        .take_while(|taken| *taken > 0)
        .sum();
    assert!(
        first <= room && all <= 4 * room,
        "{first} and {all} of {room}"
    );
    assert_eq!(receive(machine, 0, &flood), (Status::Ok, 0));
}

#[test]
fn datagrams_need_space_and_are_not_taken_without_end() {
    let plan = plan(UDP);
    let (status, machine) = make(sansbox_association_new, plan, 0, address("127.0.0.1:5"));
    assert_eq!(status, Status::Ok);
    assert_eq!(datagram(machine, 0, b"question"), Status::Ok);
    let bind = action(machine).expect("a socket of its own");
    assert_eq!((bind.kind, bind.outbound), (ActionKind::Bind, 0));
    assert_ne!(bind.outbound, NO_OUTBOUND);
    assert_eq!(
        connected(machine, bind.id, address("127.0.0.1:6")),
        Status::Ok
    );
    let next = || {
        let (mut status, mut sent) = poll(machine, &mut [0; 4]);
        while sent.kind == ActionKind::Log {
            (status, sent) = poll(machine, &mut [0; 4]);
        }
        (status, sent)
    };
    for _ in 0..2 {
        let (status, sent) = next();
        assert_eq!((status, sent.data_len), (Status::NoSpace, 8), "it stays");
    }
    let mut data = [0; 8];
    let (status, sent) = poll(machine, &mut data);
    assert_eq!((status, &data), (Status::Ok, b"question"));
    assert_eq!(
        (sent.slot, sent.address),
        (bind.slot, address("192.0.2.9:53"))
    );
    assert_eq!(datagram(machine, 0, &[0; 65_536]), Status::BadArgument);
    let many = (0..2 * ACTIONS_MAX).find(|_| datagram(machine, 0, b"x") != Status::Ok);
    assert_eq!(many, Some(ACTIONS_MAX), "nobody polls");
    assert_eq!(poll(machine, &mut data).0, Status::Ok);
    assert_eq!(datagram(machine, 0, b"x"), Status::Ok);
}
