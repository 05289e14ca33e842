//! The C interface: any calls in any order, with handles that are good, freed or made up.
#![expect(unsafe_code, reason = "calls the interface as C does")]
use crate::input::Input;
use sansbox_ffi::{
    door::{feed::*, machine::*, plan::*, version::*},
    status::Status,
    types::{Action, ActionKind, Address, EndKind, Record},
};
use std::{
    net::SocketAddr,
    ptr::{null, null_mut},
};

/// Most calls of one input.
const CALLS_MAX: usize = 400;
/// Configurations to choose from; the last two are none.
const CONFIGS: [&[u8]; 6] = [
    br#"{"inbounds": [{"type": "mixed"}]}"#,
    br#"{"inbounds": [{"type": "mixed", "users": [{"username": "u", "password": "p"}]}],
         "outbounds": [{"type": "socks", "server": "192.0.2.1", "server_port": 1080}]}"#,
    br#"{"inbounds": [{"type": "direct", "override_address": "a.example", "override_port": 53}],
         "outbounds": [{"type": "http", "server": "b.example", "server_port": 8080}]}"#,
    br#"{"inbounds": [{"type": "direct", "override_address": "192.0.2.1", "override_port": 53}]}"#,
    br#"{"inbounds": [{"type": "sox"}]}"#,
    b"\xFF",
];

/// Each octet chooses a call, and those behind it its arguments. Fails when a call panics, when
/// one that is refused changed a machine, or when a handle outlives its free.
pub fn ffi_calls(data: &[u8]) {
    let mut input = Input::new(data);
    let mut caller = Caller::default();
    for _ in 0..CALLS_MAX {
        if input.is_empty() {
            break;
        }
        caller.call(&mut input);
    }
    caller.free_all();
}

/// What a program remembers.
#[derive(Default)]
struct Caller {
    /// All handles that were ever given out.
    handles: Vec<u64>,
    live: Vec<u64>,
    now: u64,
    last: Option<Action>,
}

/// Everything that can be seen of a machine.
#[derive(Debug, PartialEq)]
struct View {
    record: (Status, Record),
    deadline: (Status, u64),
    rooms: [(Status, usize); 4],
    peeks: [(Status, Vec<u8>); 4],
}

fn view(machine: u64) -> View {
    let (mut record, mut at) = (Record::default(), 0);
    // SAFETY: all pointers are to what stands here.
    let (known, set) = unsafe {
        (
            sansbox_machine_record(machine, &raw mut record),
            sansbox_machine_deadline(machine, &raw mut at),
        )
    };
    View {
        record: (known, record),
        deadline: (set, at),
        rooms: std::array::from_fn(|slot| {
            let mut room = 0;
            // SAFETY: the pointer is to what stands here.
            let status = unsafe { sansbox_machine_room(machine, slot as u32, &raw mut room) };
            (status, room)
        }),
        peeks: std::array::from_fn(|slot| peek(machine, slot as u32, 256)),
    }
}

fn peek(machine: u64, slot: u32, most: usize) -> (Status, Vec<u8>) {
    let mut bytes = vec![0xEE; most + 1];
    let (mut len, mut waiting, mut end) = (0, 0, EndKind::Open);
    // SAFETY: all pointers are to what stands here.
    let status = unsafe {
        sansbox_machine_peek(
            machine,
            slot,
            bytes.as_mut_ptr(),
            most,
            &raw mut len,
            &raw mut waiting,
            &raw mut end,
        )
    };
    assert!(
        len <= most && len <= waiting,
        "{len} of {waiting} in {most}"
    );
    assert_eq!(bytes.get(len), Some(&0xEE), "written behind the end");
    bytes.truncate(len);
    (status, bytes)
}

impl Caller {
    fn call(&mut self, input: &mut Input<'_>) {
        let op = input.byte();
        let machine = self.handle(input);
        let before = view(machine);
        let status = match op % 20 {
            0 => self.plan(input),
            1 => self.machine(input, machine),
            2 => self.free(machine),
            // Mostly what a driver does, so that machines get somewhere.
            3..=6 => self.answer(input, machine),
            7..=9 => self.poll(input, machine),
            10..=12 => self.receive(input, machine),
            _ => self.feed(op % 20, input, machine),
        };
        assert_ne!(status, Status::Panicked, "call {op}");
        let is_change = (status as i32) >= 0 || status == Status::NoSpace;
        if !is_change {
            assert_eq!(view(machine), before, "call {op} was refused: {status:?}");
        }
    }

    fn handle(&self, input: &mut Input<'_>) -> u64 {
        let choice = input.byte();
        let from = if choice < 224 {
            &self.live
        } else {
            &self.handles
        };
        match from.len() {
            0 => u64::from(choice),
            _ if choice == 255 => u64::from(input.u16()) << 24 | u64::from(input.u16()),
            len => from[usize::from(choice) % len],
        }
    }

    fn keep(&mut self, handle: u64) {
        assert!(
            !self.handles.contains(&handle),
            "a handle is given out twice"
        );
        self.handles.push(handle);
        self.live.push(handle);
    }

    fn plan(&mut self, input: &mut Input<'_>) -> Status {
        let json = input.pick(&CONFIGS);
        let (mut text, mut plan) = ([0; 64], 0);
        let len = input.below(65);
        // SAFETY: all pointers are to what stands here, or null.
        let status = unsafe {
            let text = text.as_mut_ptr();
            let at = if input.one_in(20) { null_mut() } else { text };
            sansbox_plan_new(json.as_ptr().cast(), json.len(), at, len, &raw mut plan)
        };
        if status == Status::Ok {
            self.keep(plan);
        }
        status
    }

    fn machine(&mut self, input: &mut Input<'_>, plan: u64) -> Status {
        let new = if input.byte() & 1 == 0 {
            sansbox_session_new
        } else {
            sansbox_association_new
        };
        let (remote, local) = (address(input), address(input));
        let (seed, mut machine) = ([input.byte(); SEED_SIZE], 0);
        let inbound = u32::from(input.one_in(30));
        let at = if input.one_in(30) {
            null()
        } else {
            &raw const remote
        };
        // SAFETY: all pointers are to what stands here, or null.
        let status = unsafe {
            new(
                plan,
                inbound,
                at,
                &raw const local,
                seed.as_ptr(),
                self.now,
                &raw mut machine,
            )
        };
        if status == Status::Ok {
            self.keep(machine);
        }
        status
    }

    fn free(&mut self, handle: u64) -> Status {
        let statuses = [sansbox_machine_free(handle), sansbox_plan_free(handle)];
        let freed = statuses.contains(&Status::Ok);
        assert_eq!(freed, self.live.contains(&handle), "{statuses:?}");
        self.live.retain(|live| *live != handle);
        // What is refused here may have been freed by the other call.
        Status::Ok
    }

    fn poll(&mut self, input: &mut Input<'_>, machine: u64) -> Status {
        let mut action = Action::default();
        let mut data = [0xEE; 65];
        let len = if input.one_in(8) { 3 } else { 64 };
        // SAFETY: all pointers are to what stands here.
        let status = unsafe {
            sansbox_machine_poll_action(machine, &raw mut action, data.as_mut_ptr(), len)
        };
        assert_eq!(data[len], 0xEE, "written behind the end");
        if status == Status::Ok {
            assert_ne!(action.kind, ActionKind::None);
            let is_asking = matches!(
                action.kind,
                ActionKind::Resolve | ActionKind::Dial | ActionKind::Bind
            );
            if is_asking {
                self.last = Some(action);
            }
        }
        status
    }

    /// Answers what was asked last, or something else.
    fn answer(&self, input: &mut Input<'_>, machine: u64) -> Status {
        let choice = input.byte();
        let id = match self.last {
            Some(action) if choice < 240 => action.id,
            Some(_) | None => u32::from(choice % 4),
        };
        let wants_name = self
            .last
            .is_some_and(|action| action.kind == ActionKind::Resolve);
        let local = address(input);
        if choice.is_multiple_of(16) {
            return sansbox_machine_failed(machine, self.now, id, input.byte().into());
        }
        if wants_name ^ (choice % 16 == 1) {
            let count = usize::from(input.byte() % 4);
            let all = [local; 3];
            // SAFETY: `all` has three addresses.
            return unsafe { sansbox_machine_resolved(machine, self.now, id, all.as_ptr(), count) };
        }
        // SAFETY: the pointer is to what stands here.
        unsafe { sansbox_machine_connected(machine, self.now, id, &raw const local) }
    }

    fn receive(&self, input: &mut Input<'_>, machine: u64) -> Status {
        let slot = slot(input);
        let len = usize::from(input.byte());
        let bytes = input.take(len);
        let mut taken = 0;
        let from = address(input);
        // SAFETY: all pointers are to what stands here.
        unsafe {
            if input.one_in(3) {
                let (at, len) = (bytes.as_ptr(), bytes.len());
                sansbox_machine_datagram(machine, self.now, slot, &raw const from, at, len)
            } else {
                let (at, len) = (bytes.as_ptr(), bytes.len());
                sansbox_machine_received(machine, self.now, slot, at, len, &raw mut taken)
            }
        }
    }

    fn feed(&mut self, op: u8, input: &mut Input<'_>, machine: u64) -> Status {
        let slot = slot(input);
        match op {
            13 | 14 => {
                // Mostly all that waits, as a socket with room takes it.
                let (_, waiting) = peek(machine, slot, 4096);
                let len = if input.one_in(8) {
                    usize::from(input.u16())
                } else {
                    waiting.len()
                };
                sansbox_machine_drained(machine, self.now, slot, len)
            }
            15 => sansbox_machine_ended(machine, self.now, slot, u32::from(input.byte() % 4)),
            16 => {
                let bytes = if input.one_in(10) { u64::MAX } else { 7 };
                sansbox_machine_relayed(machine, self.now, slot, bytes)
            }
            17 => {
                let step = 1_u64 << input.below(50);
                self.now = self.now.saturating_add(step);
                sansbox_machine_tick(machine, self.now)
            }
            18 => sansbox_machine_tick(machine, u64::from(input.u16())),
            _ if input.one_in(8) => sansbox_machine_stop(machine, self.now),
            _ => Status::Ok,
        }
    }

    fn free_all(mut self) {
        while let Some(handle) = self.live.last().copied() {
            let _ = self.free(handle);
        }
        let mut count = usize::MAX;
        // SAFETY: the pointer is to what stands here.
        let status = unsafe { sansbox_handle_count(&raw mut count) };
        assert_eq!((status, count), (Status::Ok, 0));
        for handle in self.handles {
            assert_eq!(sansbox_machine_tick(handle, self.now), Status::BadHandle);
        }
    }
}

fn slot(input: &mut Input<'_>) -> u32 {
    match input.byte() {
        byte @ 0..=250 => u32::from(byte % 3),
        byte => u32::MAX - u32::from(byte),
    }
}

fn address(input: &mut Input<'_>) -> Address {
    let byte = input.byte();
    let text = match byte % 6 {
        0 | 1 => "127.0.0.1:5",
        2 => "[::1]:80",
        3 => "203.0.113.9:9",
        4 => "[fe80::1%3]:1",
        _ => "0.0.0.0:0",
    };
    let known = text.parse::<SocketAddr>().expect("an address");
    let mut address = Address::from(known);
    if byte > 250 {
        address.family = byte.into();
    }
    address
}
