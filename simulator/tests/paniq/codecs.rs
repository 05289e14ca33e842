//! S15, S17, S20 to S23: differences that no tunnel shows, because nothing gets that far. The old
//! Rust library's rules stand in [`library`].
use super::help::seconds;
use blake2::{
    Blake2sMac,
    digest::{FixedOutput as _, KeyInit as _, Update as _, consts::U32},
};
use bytes::{BufMut as _, BytesMut};
use core::{net::SocketAddr, time::Duration};
use sansbox_core::{Instant, Seed};
use sansbox_protocols::paniq::{
    Draws,
    mac::{MAC1_LEN, MacKey},
    obf::{Chain, FrameError, Framer, Kind, Params, Spec},
    preamble::{Client, Dropped, Rules, Server, SourcePort, Taken, Window},
    timestamp::{ServerKey, UnixTime},
    transport::{Counting, OpenError, Opener, PaddingSpec, REJECT_AFTER_MESSAGES, Sealer},
};
use sansbox_simulator::paniq::{Profile, profile::documented};

/// What the old Rust library did (`paniq-rs`, read from its history).
mod library {
    use super::*;
    use sansbox_protocols::paniq::transport::Window;
    use std::collections::BTreeMap;

    /// BLAKE2s of 32 octets, cut to 16, with the server's public key as it is.
    pub(super) fn mac1(server_public: &[u8; 32], without_mac: &[u8]) -> [u8; MAC1_LEN] {
        let mac = Blake2sMac::<U32>::new(server_public.into())
            .chain(without_mac)
            .chain([0; MAC1_LEN])
            .finalize_fixed();
        *mac.first_chunk().unwrap()
    }

    /// Ephemeral key, nonce of 12 octets, 12 octets of time and a tag: no version, 72 octets.
    pub(super) const TIMESTAMP_LEN: usize = 32 + 12 + 12 + 16;

    /// Transport first, then whatever fits first.
    pub(super) fn decode(params: &Params, datagram: &[u8]) -> Option<Kind> {
        let kinds = [
            Kind::Transport,
            Kind::Initiation,
            Kind::Response,
            Kind::CookieReply,
        ];
        kinds.into_iter().find(|kind| {
            let at = params.prefix_len(*kind);
            let header = datagram.get(at..).and_then(|rest| rest.first_chunk());
            header.is_some_and(|header| params.header(*kind).contains(u32::from_le_bytes(*header)))
        })
    }

    /// How much padding it adds: length and counter are forgotten.
    pub(super) fn padding(inner: usize, drawn: usize, payload_max: usize) -> usize {
        drawn.min(payload_max.saturating_sub(inner))
    }

    /// Is a payload with a counter taken? The counter is noted before the length is looked at.
    pub(super) fn takes(window: &mut Window, payload: &[u8]) -> bool {
        let counting = Counting {
            forward_jump_max: u64::MAX,
            ..Counting::default()
        };
        let (counter, rest) = payload.split_first_chunk::<8>().unwrap();
        if window
            .accept(u64::from_be_bytes(*counter), &counting)
            .is_err()
        {
            return false;
        }
        let (len, rest) = rest.split_first_chunk::<2>().unwrap();
        usize::from(u16::from_be_bytes(*len)) <= rest.len()
    }

    /// The errors of a chain: empty tags are passed over, and the first error is the last.
    pub(super) fn chain_errors(text: &str) -> usize {
        errors(text, |tag| {
            !tag.is_empty() && Chain::parse(&format!("<{tag}>")).is_err()
        })
        .min(1)
    }

    /// Tags that are wrong.
    pub(super) fn errors(text: &str, is_wrong: impl Fn(&str) -> bool) -> usize {
        let tags = text
            .split('<')
            .skip(1)
            .filter_map(|rest| rest.split_once('>'));
        tags.filter(|(tag, _)| is_wrong(tag.trim())).count()
    }

    /// Preambles are forgotten by their own age.
    #[derive(Default)]
    pub(super) struct Replays(BTreeMap<Vec<u8>, Duration>);

    impl Replays {
        pub(super) fn is_replay(&mut self, at: Duration, window: Duration, key: &[u8]) -> bool {
            self.0.retain(|_, seen| *seen + window >= at);
            self.0.insert(key.to_vec(), at).is_some()
        }
    }
}

/// As the Go parser has it: all errors are told, and a negative length is none until it is used.
fn go_chain_errors(text: &str) -> usize {
    library::errors(text, |tag| {
        let accepted = tag.replace('-', "");
        Chain::parse(&format!("<{accepted}>")).is_err()
    })
}

const START: Duration = Duration::from_secs(1_750_000_000);
const NEW: Result<Taken, Dropped> = Ok(Taken::Answered { is_new: true });

fn source(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

/// The datagrams of a preamble; the last is the Initiation.
fn preamble(profile: &Profile, at: Duration) -> Vec<BytesMut> {
    let mut config = profile.client_preamble(SourcePort::Kept);
    (config.delay, config.jitter) = (Duration::ZERO, Duration::ZERO);
    let mut client = Client::new(Instant::ZERO, config, Seed::from_u64(3)).unwrap();
    let next = || {
        let mut out = BytesMut::new();
        client.poll_transmit(Instant::ZERO, UnixTime::from(START + at), &mut out)?;
        Some(out)
    };
    std::iter::from_fn(next).collect()
}

fn shown(server: &mut Server, at: Duration, port: u16, all: &[BytesMut]) -> Result<Taken, Dropped> {
    let each = |datagram: &BytesMut| {
        let (now, wall) = (Instant::ZERO + at, UnixTime::from(START + at));
        server.handle_datagram(now, wall, source(port), datagram, &mut BytesMut::new())
    };
    all.iter().map(each).last().unwrap()
}

#[test]
fn s15_other_proofs() {
    // A Response that is shorter than any of these: ours answers nothing shorter than it.
    let mut spec = documented();
    spec.s[1] = 100;
    let profile = Profile::new(&spec, 1350, PaddingSpec::default());
    let public = ServerKey::new(profile.key.unwrap()).public();
    let framer = Framer::new(profile.params.clone().into());
    let of = |timestamp_len: usize, mac: &dyn Fn(&[u8]) -> [u8; MAC1_LEN]| {
        let mut all = preamble(&profile, Duration::ZERO);
        let mut initiation = BytesMut::new();
        let mut draws = Draws::new(Seed::from_u64(1));
        framer.begin(&mut draws, Kind::Initiation, &mut initiation);
        draws.append(timestamp_len, &mut initiation);
        let tag = mac(&initiation);
        initiation.put_slice(&tag);
        *all.last_mut().unwrap() = initiation;
        all
    };
    let seed = Seed::from_u64(1);
    for rules in [Rules::go(), profile.server(seed).rules] {
        let mut config = profile.server_preamble(seed);
        config.require_encrypted_timestamp = true;
        let mut server = Server::new(config, rules);
        let mut say = |port, all: &[BytesMut]| shown(&mut server, Duration::ZERO, port, all);
        let len = library::TIMESTAMP_LEN;
        let theirs = of(len, &|octets| library::mac1(&public, octets));
        assert_eq!(say(1, &theirs), Err(Dropped::Mac));
        // With the right MAC the time still is none.
        let key = MacKey::new(&public);
        let halfway = of(len, &|octets| key.tag(octets));
        assert_eq!(say(2, &halfway), Err(Dropped::NoTimestamp));
        assert_eq!(say(3, &preamble(&profile, Duration::ZERO)), NEW);
    }
}

/// Headers so wide that one frame in four has two meanings.
fn wide() -> Params {
    let spec = Spec {
        s: [8, 40, 70, 20],
        h: [
            "0-1073741823",
            "1073741824-1073741830",
            "1073741840-1073741850",
            "2147483648-4294967294",
        ],
        i: ["<t>", "", "", "", ""],
        ..Spec::default()
    };
    Params::parse(&spec).unwrap()
}

#[test]
fn s17_frames_with_two_meanings() {
    let params = wide();
    let framer = Framer::new(params.clone().into());
    let mut datagram = [0xff; 100];
    datagram[8..12].copy_from_slice(&5_u32.to_le_bytes());
    datagram[20..24].copy_from_slice(&0x9000_0000_u32.to_le_bytes());
    assert_eq!(library::decode(&params, &datagram), Some(Kind::Transport));
    assert_eq!(
        framer.decode(&datagram),
        Err(FrameError::Ambiguous),
        "as Go does"
    );
    // Ours are drawn again until they have one.
    let mut draws = Draws::new(Seed::from_u64(1));
    let mut drawn_once = 0;
    for n in 0..1000_usize {
        let mut frame = BytesMut::new();
        framer.begin(&mut draws, Kind::Transport, &mut frame);
        frame.put_bytes(n as u8, 60);
        drawn_once += usize::from(framer.decode(&frame) == Err(FrameError::Ambiguous));
        frame.clear();
        framer.encode(&mut draws, Kind::Transport, &[n as u8; 60], &mut frame);
        assert_eq!(framer.decode(&frame), Ok((Kind::Transport, 24)));
    }
    assert!(drawn_once > 100, "{drawn_once} of 1000 would be lost");
}

#[test]
fn s20_padding_that_does_not_fit() {
    for has_counter in [false, true] {
        let mut profile = Profile::default();
        profile.sizes.has_counter = has_counter;
        let codec = profile.codec();
        let budget = codec.budget();
        let head = if has_counter { 10 } else { 2 };
        let payload_max = budget.packet_len_max() - budget.head_len() + head;
        let (mut sealer, mut draws) = (Sealer::default(), Draws::new(Seed::from_u64(1)));
        let mut too_long = 0;
        for inner in budget.inner_len_max() - 300..=budget.inner_len_max() {
            let theirs = head + inner + library::padding(inner, 256, payload_max);
            too_long += usize::from(theirs > payload_max);
            let mut out = BytesMut::new();
            let sealed = codec.seal(&mut draws, &mut sealer, &vec![0x40; inner], &mut out);
            assert!(sealed.is_ok() && out.len() <= budget.packet_len_max());
        }
        assert!(too_long >= head, "{too_long} lengths are lost");
    }
}

#[test]
fn s21_counters_of_garbage() {
    let mut profile = Profile::default();
    profile.sizes.has_counter = true;
    let codec = profile.codec();
    let garbage = {
        let mut payload = BytesMut::new();
        payload.put_u64(REJECT_AFTER_MESSAGES - 1);
        payload.put_u16(60_000);
        payload
    };
    let mut good = BytesMut::new();
    good.put_u64(0);
    good.put_u16(3);
    good.put_slice(b"abc");
    let mut window = sansbox_protocols::paniq::transport::Window::default();
    assert!(!library::takes(&mut window, &garbage));
    assert!(!library::takes(&mut window, &good), "one frame was enough");
    let framed = |payload: &[u8]| {
        let mut out = BytesMut::new();
        let mut draws = Draws::new(Seed::from_u64(1));
        codec
            .framer()
            .encode(&mut draws, Kind::Transport, payload, &mut out);
        out
    };
    let mut opener = Opener::default();
    assert_eq!(
        codec.open(&mut opener, &framed(&garbage)),
        Err(OpenError::Truncated)
    );
    assert!(codec.open(&mut opener, &framed(&good)).is_ok());
    let mut empty = BytesMut::new();
    empty.put_u64(1);
    empty.put_u16(0);
    assert!(library::takes(&mut Default::default(), &empty));
    assert_eq!(
        codec.open(&mut opener, &framed(&empty)),
        Err(OpenError::Empty)
    );
}

#[test]
fn s22_chains() {
    // The text, and how many errors Go and the library tell; ours takes what neither refuses and
    // no program dies of.
    for (text, go, theirs, is_good) in [
        ("<t><r 5>", 0, 0, true),
        ("<><t>", 1, 0, false),
        ("<x><y>", 2, 1, false),
        ("<r -1>", 0, 1, false),
        ("<b 0x123>", 1, 1, false),
    ] {
        assert_eq!(go_chain_errors(text), go, "{text}");
        assert_eq!(library::chain_errors(text), theirs, "{text}");
        assert_eq!(Chain::parse(text).is_ok(), is_good, "{text}");
    }
}

#[test]
fn s23_preambles_that_are_forgotten() {
    let profile = Profile {
        encrypted_timestamp: false,
        ..Profile::default()
    };
    let recorded = preamble(&profile, Duration::ZERO);
    let initiation = recorded.last().unwrap();
    // A profile whose clocks may differ by more than its replay window.
    let (skew, window) = (seconds(300), seconds(30));
    let mut theirs = library::Replays::default();
    assert!(!theirs.is_replay(Duration::ZERO, window, initiation));
    assert!(theirs.is_replay(seconds(20), window, initiation));
    assert!(
        !theirs.is_replay(seconds(51), window, initiation),
        "it is taken again"
    );
    let seed = Seed::from_u64(1);
    for rules in [Rules::go(), profile.server(seed).rules] {
        let mut config = profile.server_preamble(seed);
        config.timestamp_window = Window {
            past: skew,
            future: skew,
        };
        let mut server = Server::new(config, rules);
        assert_eq!(shown(&mut server, Duration::ZERO, 1, &recorded), NEW);
        for (port, at) in [(2, 20), (3, 51), (4, 100)] {
            let taken = shown(&mut server, seconds(at), port, &recorded);
            assert_eq!(taken, Err(Dropped::Replayed), "{at} s");
        }
    }
}
