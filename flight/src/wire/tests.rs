use super::*;
use proptest::prelude::*;
use sansbox_core::Instant;
use sansbox_engine::machine::{Cause, Undelivered};

proptest! {
    #[test]
    fn numbers_come_back(value: u64) {
        let mut out = Vec::new();
        put_number(&mut out, value);
        prop_assert!(out.len() <= 10);
        let mut cursor = Cursor::new(&out);
        prop_assert_eq!(cursor.number("n"), Ok(value));
        prop_assert!(cursor.is_empty());
        for short in 0..out.len() {
            let cut = Cursor::new(&out[..short]).number("n");
            prop_assert_eq!(cut, Err(Malformed::Short("n")));
        }
    }

    #[test]
    fn addresses_come_back(address: SocketAddr) {
        let mut out = Vec::new();
        put_socket_addr(&mut out, address);
        prop_assert_eq!(Cursor::new(&out).socket_addr(), Ok(address));
    }
}

#[test]
fn a_number_of_more_than_64_bits_is_refused() {
    for long in [[0xff; 10], [0x80; 10]] {
        assert!(Cursor::new(&long).number("n").is_err());
    }
    let mut most = [0xff; 10];
    most[9] = 1;
    assert_eq!(Cursor::new(&most).number("n"), Ok(u64::MAX));
}

const V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 80);
const V6: SocketAddrV6 = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 443, 5, 7);

/// The beginnings of all kinds of machines, with and without content.
fn beginnings() -> Vec<Entry<'static>> {
    use sansbox_core::Seed;
    use sansbox_engine::{Peer, ids::InboundId};
    let begin = |kind, content| {
        Entry::Begin(Begin {
            kind,
            inbound: InboundId(9),
            log_id: u32::MAX,
            content,
        })
    };
    let content = |target| {
        let (remote, local) = (V4, V6.into());
        Some(Content {
            peer: Peer { remote, local },
            seed: Seed::from_u64(4),
            target,
        })
    };
    let device = |mtu, has_offload| {
        let facts = sansbox_engine::carrier::tun::Device { mtu, has_offload };
        MachineKind::Device(facts)
    };
    let name = Domain::parse(b"a.test").expect("a name");
    let name = Target::new(Host::Domain(name), 443);
    let address = Target::from(SocketAddr::from(V6));
    vec![
        begin(MachineKind::Association, None),
        begin(MachineKind::Session, content(None)),
        begin(MachineKind::Carried, None),
        begin(MachineKind::Carried, content(Some(address))),
        begin(MachineKind::Carried, content(Some(name))),
        begin(MachineKind::CarriedDatagrams, None),
        begin(MachineKind::CarriedDatagrams, content(None)),
        begin(device(1500, true), None),
        begin(device(u16::MAX, false), content(None)),
    ]
}

fn undelivered(cause: Cause) -> Undelivered {
    let reporter = (cause != Cause::PortUnreachable).then_some(V4.ip());
    Undelivered { cause, reporter }
}

/// Datagrams that did not arrive, for every reason.
fn of_errors() -> Vec<Entry<'static>> {
    let slot = sansbox_engine::ids::Slot(300);
    let causes = [
        Cause::PortUnreachable,
        Cause::HostUnreachable,
        Cause::NetUnreachable,
        Cause::ProtocolUnreachable,
        Cause::AdminProhibited,
        Cause::TooBig { mtu: 1400 },
        Cause::HopLimitExceeded,
        Cause::ReassemblyTimeExceeded,
    ];
    let told = causes.map(|cause| Some((V6.into(), undelivered(cause))));
    let all = told.into_iter().chain([None]);
    all.map(|content| Entry::DatagramError(slot, content))
        .collect()
}

/// What is told of devices.
fn of_devices() -> Vec<Entry<'static>> {
    use sansbox_engine::carrier::Stream;
    let stream = Stream(7 << 32 | 300);
    let (frames, bytes, packets) = (64, 1 << 22, 3);
    let all = [
        DeviceEntry::Frame(b"a frame"),
        DeviceEntry::Batch { frames, bytes },
        DeviceEntry::Polled,
        DeviceEntry::Sent { packets, bytes },
        DeviceEntry::Answered(stream, Ok(None)),
        DeviceEntry::Answered(stream, Ok(Some(V4))),
        DeviceEntry::Answered(Stream(0), Err(Refusal::Loop)),
        DeviceEntry::Abandoned(stream),
        DeviceEntry::Taken(stream, 70_000),
        DeviceEntry::Written(stream, b"a segment"),
        DeviceEntry::Ended(stream, Way::Received, End::Reset),
        DeviceEntry::Ended(stream, Way::ToSend, End::Fin),
        DeviceEntry::Exchanged(Stream(u64::MAX)),
        DeviceEntry::DatagramError(stream, None),
        DeviceEntry::DatagramError(stream, Some((V4, undelivered(Cause::HostUnreachable)))),
    ];
    all.map(Entry::Device).to_vec()
}

/// One entry of each kind, with and without content.
fn entries() -> Vec<Entry<'static>> {
    use sansbox_engine::{
        ids::{ActionId, Slot},
        record::CloseReason,
    };
    let (slot, id) = (Slot(300), ActionId(2));
    let end = |closed, digest| Entry::End {
        closed,
        bytes_up: 1 << 40,
        bytes_down: 0,
        digest,
    };
    let (v4, v6) = (V4, V6.into());
    let ips = vec![v4.ip(), V6.ip().to_owned().into()];
    let refused = CloseReason::Refused(Refusal::Loop);
    let received = |len, bytes| Entry::Received { slot, len, bytes };
    let datagram = |len, content| Entry::Datagram { slot, len, content };
    let mut entries = beginnings();
    entries.extend(of_devices());
    entries.extend(of_errors());
    entries.extend([
        Entry::Tick,
        received(70_000, None),
        received(3, Some(b"abc")),
        Entry::Drained(slot, 1 << 33),
        Entry::Ended(slot, End::Reset),
        datagram(0, None),
        datagram(2, Some((v6, b"ab"))),
        Entry::Done(id, Answer::Resolved(2, None)),
        Entry::Done(id, Answer::Resolved(2, Some(ips.into()))),
        Entry::Done(id, Answer::Connected(None)),
        Entry::Done(id, Answer::Connected(Some(v4))),
        Entry::Done(id, Answer::Bound(Some(v6))),
        Entry::Done(id, Answer::Failed(Refusal::General)),
        Entry::Relayed(slot, u64::MAX),
        Entry::Stop,
        Entry::Asked(Asked::Resolve(id)),
        Entry::Asked(Asked::Dial(id, slot)),
        Entry::Asked(Asked::Bind(id, slot)),
        Entry::Asked(Asked::Cancel(id)),
        Entry::Asked(Asked::Close(slot, End::Fin)),
        Entry::Asked(Asked::Passthrough(Slot(0), slot)),
        Entry::Asked(Asked::OpenStream(id, slot)),
        Entry::Produced {
            actions: 3,
            digest: [1; 8],
        },
        Entry::Cut,
        end(None, None),
        end(Some(CloseReason::Stopped), None),
        end(Some(refused), Some([8; 32])),
    ]);
    entries
}

fn chunk_of(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut last = Instant::from_nanos(5);
    Chunk::emit_front(3, last, &mut out);
    for (number, entry) in (0..).zip(entries) {
        let at = Instant::from_nanos(number * 1000);
        put_record(&mut out, at, last, number, entry);
        last = at;
    }
    out
}

#[test]
fn entries_come_back() {
    let entries = entries();
    let bytes = chunk_of(&entries);
    let chunk = Chunk::parse(&bytes).expect("a chunk");
    assert_eq!(chunk.worker, 3);
    let records: Result<Vec<_>, _> = chunk.records().collect();
    let records = records.expect("records");
    assert_eq!(records.len(), entries.len());
    for ((number, record), entry) in (0..).zip(&records).zip(&entries) {
        assert_eq!(record.at.as_nanos(), number * 1000);
        assert_eq!((record.number, &record.entry), (number, entry));
    }
}

#[test]
fn an_entry_cut_short_is_refused() {
    for entry in entries() {
        let bytes = chunk_of(std::slice::from_ref(&entry));
        for len in 0..bytes.len() {
            let Ok(chunk) = Chunk::parse(&bytes[..len]) else {
                continue;
            };
            let whole = chunk.records().any(|record| record.is_ok());
            assert!(!whole, "{entry:?} in {len} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn small_records_are_small() {
    let frequent = [
        Entry::Tick,
        Entry::Drained(sansbox_engine::ids::Slot(0), 100),
        Entry::Relayed(sansbox_engine::ids::Slot(1), 10_000),
    ];
    for entry in frequent {
        let mut out = Vec::new();
        let at = Instant::from_nanos(100_000);
        put_record(&mut out, at, Instant::ZERO, 100, &entry);
        assert!(out.len() <= 9, "{entry:?}: {} bytes", out.len());
    }
}

proptest! {
    #[test]
    fn whatever_parses_is_emitted_again(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let Ok(chunk) = Chunk::parse(&bytes) else {
            return Ok(());
        };
        for record in chunk.records().flatten() {
            let mut out = Vec::new();
            Chunk::emit_front(0, record.at, &mut out);
            record.emit(record.at, &mut out);
            let again = Chunk::parse(&out).expect("a chunk").records().next();
            prop_assert_eq!(again, Some(Ok(record)));
        }
    }
}
