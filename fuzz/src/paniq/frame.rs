//! Frames and chains.
use super::draws;
use crate::{input::Input, reference::paniq as reference};
use bytes::BytesMut;
use sansbox_protocols::paniq::{
    Draws,
    obf::{Chain, Framer, HeaderRange, Kind, Params, REDRAWS_MAX, Signature, Spec},
};

/// Octets 0 to 3 are the lengths of the prefixes, 4 to 27 the header ranges as start and width, 28
/// and 29 seed what is drawn, 30 says what is done with the rest: a frame's payload, a datagram
/// (with a header in its place or not), or the text of a chain.
///
/// The reference tells frames apart and chains from other texts; what is encoded is decoded unless
/// the payload itself clashes; what a chain writes it reads, and no prefix of it.
pub fn paniq_frame(data: &[u8]) {
    let mut input = Input::new(data);
    let s: [u8; 4] = input.bytes();
    let s = s.map(|len| usize::from(len % 40));
    let h = [(); 4].map(|()| {
        let start = u32::from_be_bytes(input.bytes());
        (start, start.saturating_add(u32::from(input.u16())))
    });
    let mut draws = draws(&mut input);
    let choice = input.byte();
    let rest = input.rest();
    if choice & 3 == 3 {
        return chain(&mut draws, &String::from_utf8_lossy(rest));
    }
    let texts = h.map(|(start, end)| format!("{start}-{end}"));
    let [h1, h2, h3, h4] = texts.each_ref().map(String::as_str);
    let spec = Spec {
        s: s.map(|len| len as i64),
        h: [h1, h2, h3, h4],
        ..Spec::default()
    };
    let is_overlapping = |n: usize| (0..n).any(|m| h[m].0 <= h[n].1 && h[n].0 <= h[m].1);
    let Ok(params) = Params::parse(&spec) else {
        return assert!((0..4).any(is_overlapping), "refused: {h:?}");
    };
    assert!(!(0..4).any(is_overlapping), "taken: {h:?}");
    let framer = Framer::new(params.into());
    let kind = usize::from(choice >> 2) % 4;
    if choice & 3 == 0 {
        let mut out = BytesMut::from(&b"earlier"[..]);
        framer.encode(&mut draws, Kind::ALL[kind], rest, &mut out);
        let frame = out.split_off(7);
        assert_eq!(&out[..], b"earlier");
        assert_eq!(&frame[s[kind] + 4..], rest, "the payload");
        return encoded(&framer, s, h, kind, &frame);
    }
    let mut datagram = rest.to_vec();
    if choice & 3 == 1
        && let Some(header) = datagram.get_mut(s[kind]..s[kind] + 4)
    {
        let range = HeaderRange::new(h[kind].0, h[kind].1).expect("a range");
        header.copy_from_slice(&draws.header(range).to_le_bytes());
    }
    decode(&framer, s, h, &datagram);
}

fn decode(framer: &Framer, s: [usize; 4], h: [(u32, u32); 4], datagram: &[u8]) -> Option<usize> {
    let ours = framer.decode(datagram).ok();
    let expected = reference::frame(s, h, datagram);
    let expected_kind = expected.map(|(kind, at)| (Kind::ALL[kind], at));
    assert_eq!(ours, expected_kind);
    expected.map(|(kind, _)| kind)
}

/// A frame is what it was made as. It can only be taken for two kinds where another kind's header
/// is not wholly in the random prefix, unless chance was against it seventeen times.
fn encoded(framer: &Framer, s: [usize; 4], h: [(u32, u32); 4], kind: usize, frame: &[u8]) {
    if let Some(decoded) = decode(framer, s, h, frame) {
        return assert_eq!(decoded, kind);
    }
    // Ranges of 16 bits of width in a prefix: 2^-16 each time.
    let is_fixed = (0..4).any(|other| other != kind && s[other] + 4 > s[kind]);
    assert!(is_fixed, "{REDRAWS_MAX} redraws did not help");
}

fn chain(draws: &mut Draws, text: &str) {
    let ours = Chain::parse(text);
    let lengths = ours.as_ref().ok().map(|chain| (chain.len(), chain.tags()));
    assert_eq!(lengths, reference::chain(text), "{text:?}");
    let Ok(chain) = ours else {
        return;
    };
    let seconds = draws.bits();
    let mut out = BytesMut::new();
    chain.emit(draws, seconds, &mut out);
    let timestamp = chain.has_timestamp().then_some(seconds);
    assert_eq!(chain.read(&out), Some(Signature { timestamp }), "{text:?}");
    for n in (0..out.len()).rev().take(64) {
        assert_eq!(chain.read(&out[..n]), None, "{n} octets of {text:?}");
    }
    let params = Params::parse(&Spec {
        i: [text, "", "", "", ""],
        ..Spec::default()
    });
    let is_good = text.is_empty() || !chain.is_empty() && !chain.has_data();
    assert_eq!(params.is_ok(), is_good, "{text:?} as a signature");
}
