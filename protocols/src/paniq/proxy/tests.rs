use super::{
    record::{self, Record},
    wire::{DatagramsRequest, Malformed, Reply, Request, Status},
};
use crate::socks::wire::{Address, Name, Short};
use bytes::BytesMut;
use proptest::prelude::*;
use sansbox_core::{Host, Target};
use std::{fmt::Debug, net::IpAddr};

/// `bytes` is `expected` and seven bytes more; no strict prefix of it is anything.
fn check<'a, T: Debug + PartialEq>(
    bytes: &'a [u8],
    expected: &T,
    parse: impl Fn(&'a [u8]) -> Result<Option<(T, usize)>, Malformed>,
) {
    let len = bytes.len() - 7;
    let (message, n) = parse(bytes).unwrap().expect("a whole message");
    assert_eq!((&message, n), (expected, len));
    for n in 0..len {
        assert_eq!(parse(&bytes[..n]), Ok(None), "{n} of {len} bytes");
    }
}

fn names() -> impl Strategy<Value = (Option<IpAddr>, Vec<u8>)> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|ip| (Some(ip.into()), Vec::new())),
        any::<[u8; 16]>().prop_map(|ip| (Some(ip.into()), Vec::new())),
        proptest::collection::vec(any::<u8>(), 0..=255).prop_map(|name| (None, name)),
    ]
}

proptest! {
    #[test]
    fn messages_survive_the_wire((ip, name) in names(), port in any::<u16>(), status in any::<u8>()) {
        let name = ip.map_or_else(|| Name::Domain(Short::new(&name).unwrap()), Name::Ip);
        let address = Address { name, port };
        let request = Request { address };
        let mut out = BytesMut::new();
        request.emit(&mut out);
        prop_assert_eq!(out.len(), request.buffer_len());
        prop_assert!(out.len() <= Request::LEN_MAX);
        out.extend_from_slice(b"and data");
        out.truncate(out.len() - 1);
        check(&out, &request, Request::parse);

        let status = match status {
            0 => Status::Success,
            1 => Status::Failure,
            2 => Status::BadRequest,
            other => Status::Other(other),
        };
        let reply = Reply { status, address };
        let mut out = BytesMut::new();
        reply.emit(&mut out);
        prop_assert_eq!(out.len(), reply.buffer_len());
        prop_assert!(out.len() <= Reply::LEN_MAX);
        out.extend_from_slice(b"\x05banner");
        check(&out, &reply, Reply::parse);
    }

    #[test]
    fn any_bytes_are_a_message_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Request::parse(&bytes).map(|r| r.map(|(r, _)| r.address.to_target()));
        let _ = Reply::parse(&bytes);
    }
}

#[test]
fn other_versions_and_address_types_are_told_apart() {
    assert_eq!(Request::parse(&[5]), Err(Malformed::Version(5)));
    assert_eq!(Request::parse(&[1, 2]), Err(Malformed::AddressType));
    assert_eq!(Reply::parse(&[0]), Err(Malformed::Version(0)));
    assert_eq!(Reply::parse(&[1, 1, 0]), Err(Malformed::AddressType));
}

#[test]
fn an_empty_name_is_no_target() {
    let (request, n) = Request::parse(&[1, 3, 0, 0, 80]).unwrap().unwrap();
    assert_eq!(n, 5);
    assert!(request.address.to_target().is_err());
}

#[test]
fn refusals_are_nine_octets() {
    let mut out = BytesMut::new();
    Reply::failure(Status::Failure).emit(&mut out);
    assert_eq!(out[..], [1, 1, 1, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn addresses_within_ipv6_are_sent_as_ipv4() {
    let target = Target::new(Host::parse(b"::ffff:1.2.3.4").unwrap(), 80);
    let mut out = BytesMut::new();
    Request::from(&target).emit(&mut out);
    assert_eq!(out[..], [1, 1, 1, 2, 3, 4, 0, 80]);
    let mut out = BytesMut::new();
    Reply::success("[::ffff:127.0.0.1]:56188".parse().unwrap()).emit(&mut out);
    assert_eq!(out[..], [1, 0, 1, 127, 0, 0, 1, 0xdb, 0x7c]);
}

#[test]
fn a_request_for_datagrams_is_two_octets_of_another_version() {
    let mut out = BytesMut::new();
    DatagramsRequest.emit(&mut out);
    assert_eq!(out[..], [2, 3]);
    out.extend_from_slice(b"records");
    check(&out, &DatagramsRequest, DatagramsRequest::parse);
    for other in [0, 1, 2, 4, 255] {
        let kind = DatagramsRequest::parse(&[2, other]);
        assert_eq!(kind, Err(Malformed::Kind(other)));
    }
    assert_eq!(DatagramsRequest::parse(&[1, 3]), Err(Malformed::Version(1)));
    // To whoever does not know it, it is what any unknown version is.
    assert_eq!(Request::parse(&[2, 3]), Err(Malformed::Version(2)));
}

proptest! {
    #[test]
    fn records_survive_the_wire(
        (ip, name) in names(),
        port in any::<u16>(),
        data in proptest::collection::vec(any::<u8>(), 0..2000),
    ) {
        let name = ip.map_or_else(|| Name::Domain(Short::new(&name).unwrap()), Name::Ip);
        let record = Record { address: Address { name, port }, data: &data };
        let mut out = BytesMut::new();
        prop_assert!(record.emit(&mut out));
        prop_assert!(out.len() <= record.buffer_len() && out.len() <= Record::LEN_MAX);
        let len = out.len();
        out.extend_from_slice(b"another");
        let (read, n) = Record::parse(&out).unwrap().expect("a whole record");
        prop_assert_eq!((read.data, read.address.port, n), (&data[..], port, len));
        let canonical = match record.address.name {
            Name::Ip(ip) => Name::Ip(ip.to_canonical()),
            name => name,
        };
        prop_assert_eq!(read.address.name, canonical);
        for n in 0..len {
            prop_assert_eq!(Record::parse(&out[..n]), Ok(None));
        }
    }

    #[test]
    fn any_bytes_are_a_record_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(Some((record, n))) = Record::parse(&bytes) {
            prop_assert_eq!(record.buffer_len(), n);
        }
    }
}

#[test]
fn records_hold_what_a_datagram_holds_and_no_more() {
    let data = vec![7; 65_508];
    let address: Address<'_> =
        std::net::SocketAddr::from(([0x2001, 0, 0, 0, 0, 0, 0, 1], 1)).into();
    let emit = |data| {
        let mut out = BytesMut::new();
        Record { address, data }.emit(&mut out).then_some(out)
    };
    let longest = emit(&data[..65_507]).expect("as long as may be");
    assert_eq!(longest.len(), Record::LEN_MAX);
    assert!(Record::parse(&longest).unwrap().is_some());
    assert_eq!(emit(&data), None);
    let beyond = 65_527_u16;
    assert_eq!(
        Record::parse(&beyond.to_be_bytes()),
        Err(record::Malformed::TooLong(beyond))
    );
}

#[test]
fn a_record_without_a_whole_address_is_none() {
    for body in [
        &[][..],
        &[1],
        &[2, 1, 2, 3, 4, 0, 53],
        &[1, 1, 2, 3, 4, 0],
        &[3, 2, 97, 0, 53],
    ] {
        let mut octets = vec![0, u8::try_from(body.len()).unwrap()];
        octets.extend(body);
        // What follows is another record's, and does not complete this one.
        octets.extend([0; 9]);
        assert_eq!(Record::parse(&octets), Err(record::Malformed::Address));
    }
    let (record, n) = Record::parse(&[0, 7, 1, 1, 2, 3, 4, 0, 53])
        .unwrap()
        .unwrap();
    assert_eq!((record.data, n), (&[][..], 9), "an empty datagram is one");
}
