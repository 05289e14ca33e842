//! Making fragments: RFC 791 section 3.2, RFC 8200 section 4.5.
use super::*;
use crate::ip::{Header, be16};
use crate::testing::{assert_sums, ipv4, ipv6, tcp, udp, with_flags};
use bytes::BytesMut;
use sansbox_core::Seed;
use smoltcp::wire::Ipv4Packet;

pub(super) fn cut(packet: &[u8], mtu: usize, id: u32) -> Result<Vec<Vec<u8>>, Drop> {
    let header = Header::parse(packet).expect("parsed");
    let mut fragments = fragment(packet, &header, mtu, id)?;
    let mut out = BytesMut::new();
    let mut all = Vec::new();
    while let Some(len) = fragments.next_into(&mut out) {
        all.push(out.split_to(len).to_vec());
    }
    Ok(all)
}

#[test]
fn rfc_791_fragments_are_multiples_of_8_and_fit() {
    let packet = udp(false, &[7; 3000]);
    let parts = cut(&packet, 1281, 0).expect("cut");
    let seen: Vec<_> = parts
        .iter()
        .map(|part| {
            let ip = Ipv4Packet::new_checked(part).expect("whole");
            assert!(ip.verify_checksum() && ip.ident() == 0x1234);
            (part.len(), ip.frag_offset(), ip.more_frags())
        })
        .collect();
    let expected = [(1276, 0, true), (1276, 1256, true), (516, 2512, false)];
    assert_eq!(seen, expected);
    assert_eq!(cut(&packet, 3028, 0).expect("fits"), [packet]);
}

#[test]
fn rfc_791_fragments_of_a_fragment_keep_its_place() {
    let middle = with_flags(ipv4(17, &[7; 1600]), 0x2000 | 100);
    let parts = cut(&middle, 820, 0).expect("cut");
    let flags: Vec<_> = parts
        .iter()
        .map(|part| be16(part, 6).expect("inside"))
        .collect();
    assert_eq!(flags, [0x2000 | 100, 0x2000 | 200]);
    let last = with_flags(ipv4(17, &[7; 1601]), 100);
    let parts = cut(&last, 820, 0).expect("cut");
    let flags: Vec<_> = parts
        .iter()
        .map(|part| be16(part, 6).expect("inside"))
        .collect();
    assert_eq!(flags, [0x2000 | 100, 0x2000 | 200, 300]);
}

#[test]
fn rfc_791_only_copied_options_are_in_later_fragments() {
    // Record route (7) is not copied, router alert (148) is.
    let options = [7, 7, 4, 0, 0, 0, 0, 1, 148, 4, 0, 0];
    let mut packet = ipv4(17, &[&options[..], &[7; 200]].concat());
    packet[0] = 0x48;
    Ipv4Packet::new_unchecked(&mut packet).fill_checksum();
    let parts = cut(&packet, 132, 0).expect("cut");
    assert_eq!((parts[0][0], &parts[0][20..32]), (0x48, &options[..]));
    assert_eq!((parts[1][0], &parts[1][20..24]), (0x46, &options[8..]));
    assert_eq!((parts[0].len(), parts[1].len()), (128, 120));
    for part in &parts {
        assert!(
            Ipv4Packet::new_checked(part)
                .expect("whole")
                .verify_checksum()
        );
    }
}

#[test]
fn rfc_8200_fragments_repeat_the_unfragmentable_part() {
    let hop = [60, 0, 1, 4, 0, 0, 0, 0];
    let destination = [17, 0, 1, 4, 0, 0, 0, 0];
    let packet = ipv6(0, &[&hop[..], &destination, &[7; 2000]].concat());
    let parts = cut(&packet, 1280, 0xabcd).expect("cut");
    assert_eq!(parts.len(), 2);
    for (part, offset_and_more) in parts.iter().zip([1_u16, 1224]) {
        assert_eq!(part[6], 0, "hop-by-hop comes first");
        assert_eq!((part[40], part[48]), (44, 60), "then the fragment header");
        assert_eq!(be16(part, 50), Some(offset_and_more));
        assert_eq!(part[52..56], 0xabcd_u32.to_be_bytes());
        assert!(Header::parse(part).expect("parsed").fragment.is_some());
    }
    assert_eq!(parts[0].len(), 56 + 1224);
    let routing = [17, 0, 0, 0, 0, 0, 0, 0];
    let before = [43, 0, 1, 4, 0, 0, 0, 0];
    let packet = ipv6(60, &[&before[..], &routing, &[7; 2000]].concat());
    let parts = cut(&packet, 1280, 1).expect("cut");
    assert_eq!((parts[0][40], parts[0][48], parts[0][56]), (43, 44, 17));
}

#[test]
fn p9_what_may_not_be_cut_is_refused_aloud() {
    let df = with_flags(udp(false, &[7; 2000]), 0x4000);
    assert_eq!(cut(&df, 1280, 0), Err(Drop::DontFragment));
    let packet = udp(true, &[7; 3000]);
    let parts = cut(&packet, 1500, 1).expect("cut");
    assert_eq!(cut(&parts[0], 1280, 2), Err(Drop::AlreadyFragment));
    let atomic = [&[17, 0, 0, 0, 0, 0, 0, 9][..], &[7; 2000]].concat();
    assert_eq!(cut(&ipv6(44, &atomic), 1280, 2), Err(Drop::AlreadyFragment));
    assert_eq!(cut(&packet, 55, 1), Err(Drop::MtuTooSmall));
    assert_eq!(cut(&udp(false, &[7; 20]), 27, 1), Err(Drop::MtuTooSmall));
    assert_eq!(cut(&udp(false, &[7; 20]), 28, 1).expect("cut").len(), 4);
}

#[test]
fn p11_a_reply_longer_than_the_tun_mtu_is_cut_never_dropped() {
    for (is_v6, len) in [(false, 65_507), (true, 65_527)] {
        let parts = cut(&udp(is_v6, &vec![7; len]), 1280, 1).expect("cut");
        assert!(parts.iter().all(|part| part.len() <= 1280));
        assert!(
            parts.len() <= FRAGMENTS_MAX,
            "and this stack would take it back"
        );
    }
}

#[test]
fn identifications_start_at_random_and_never_repeat_soon() {
    let mut ids = Identification::new(Seed::from_u64(1));
    let mut other = Identification::new(Seed::from_u64(2));
    assert_ne!(ids.next_v6(), other.next_v6());
    let seen: std::collections::BTreeSet<_> = (0..65_536).map(|_| ids.next_v4()).collect();
    assert_eq!(seen.len(), 65_536);
}

#[test]
fn tcp_packets_are_cut_the_same_way() {
    let packet = tcp(false, 1, 0x10, &[], &[7; 3000]);
    assert_eq!(cut(&packet, 1500, 0).expect("cut").len(), 3);
    assert_sums(&packet);
}
