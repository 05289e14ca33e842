//! paniq: profiles as JSON, CBOR and links.
use crate::reference::cbor::{Meaning, meaning};
use sansbox_protocols::paniq::{
    preamble::SourcePort,
    profile::{Invalid, Profile, Shared},
    transport::{INNER_LEN_MAX, INNER_LEN_MIN},
};

/// Some time in 2027.
const NOW: u64 = 1_800_000_000;

/// A profile in JSON. What is read is written and read again as the same; what a side takes can
/// work; what is refused has a field and a reason; CBOR and links change nothing that matters.
pub fn paniq_profile(data: &[u8]) {
    let profile = match Profile::from_json(data) {
        Ok(profile) => profile,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let again = Profile::from_json(profile.to_json().as_bytes());
    assert_eq!(again.as_ref(), Ok(&profile));
    judge(&profile);
    let Ok(cbor) = profile.to_cbor() else {
        return;
    };
    let read = Profile::from_cbor(&cbor).expect("what was written is read");
    assert_eq!(*read.to_cbor().expect("read, so it can be written"), *cbor);
    same(profile.server(NOW).map(|c| c.settings.shared), || {
        read.server(NOW).map(|c| c.settings.shared)
    });
    let link = profile.to_link().expect("it has an address");
    let linked = Profile::from_link(&link).expect("what was written is read");
    assert_eq!(linked.obfuscation.server_private_key, None);
    same(
        profile.for_clients().client().map(|c| c.settings.shared),
        || linked.client().map(|c| c.settings.shared),
    );
}

/// A link. What is read gives a link that reads as the same, without a private key.
pub fn paniq_link(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let profile = match Profile::from_link(&text) {
        Ok(profile) => profile,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    judge(&profile);
    let Ok(link) = profile.to_link() else {
        return;
    };
    let read = Profile::from_link(&link).expect("what was written is read");
    assert_eq!(read.obfuscation.server_private_key, None);
    assert_eq!(read.to_link(), Ok(link));
}

/// A profile in CBOR, judged by a reader of its own.
pub fn cbor(data: &[u8]) {
    let read = Profile::from_cbor(data);
    match (&read, meaning(data)) {
        (Ok(ours), Meaning::Profile(theirs)) => {
            let prob = |p: &Profile| p.transport_padding.pad_burst_prob;
            let (mut ours, mut theirs) = (ours.clone(), *theirs);
            let is_nan = prob(&ours).is_some_and(f64::is_nan);
            if is_nan && prob(&theirs).is_some_and(f64::is_nan) {
                ours.transport_padding.pad_burst_prob = None;
                theirs.transport_padding.pad_burst_prob = None;
            }
            assert_eq!(ours, theirs);
        }
        (Err(error), Meaning::Refused) => assert!(!error.to_string().is_empty()),
        (_, Meaning::Unknown) => {}
        (ours, theirs) => panic!("{ours:?}, and it means {theirs:?}"),
    }
    let Ok(profile) = read else {
        return;
    };
    judge(&profile);
    if let Ok(written) = profile.to_cbor() {
        let again = Profile::from_cbor(&written).expect("what was written is read");
        let same = again.to_cbor().expect("read, so it can be written");
        assert_eq!(*same, *written, "one way to write it");
        let is_right = matches!(meaning(&written), Meaning::Profile(_));
        assert!(is_right, "the reference reads it, too");
    }
}

/// What a side takes can work, and what it refuses has reasons.
fn judge(profile: &Profile) {
    match profile.client() {
        Ok(client) => {
            work(&client.settings.shared);
            assert_eq!(profile.obfuscation.server_private_key, None);
            let _ = client.settings.preamble(SourcePort::Fresh);
        }
        Err(invalid) => reasons(&invalid),
    }
    match profile.server(NOW) {
        Ok(server) => {
            let settings = server.settings;
            work(&settings.shared);
            if let Some(limit) = settings.rate_limit {
                let burst = usize::try_from(limit.burst).unwrap_or(usize::MAX);
                assert!(burst >= settings.shared.params.preamble_len());
            }
            assert!(settings.legacy_until.is_none_or(|until| until >= NOW));
        }
        Err(invalid) => reasons(&invalid),
    }
}

fn work(shared: &Shared) {
    let budget = shared.codec().budget().to_owned();
    let inner = budget.inner_len_max();
    assert!((INNER_LEN_MIN..=INNER_LEN_MAX).contains(&inner));
    assert!(budget.head_len() + inner + shared.padding.min() <= budget.packet_len_max());
    for signature in shared.params.signatures() {
        assert!(!signature.is_empty() && signature.len() <= 2 * budget.packet_len_max());
    }
    assert!(!shared.handshake_timeout.is_zero());
}

fn reasons(invalid: &Invalid) {
    assert!(!invalid.0.is_empty(), "refused without a reason");
    for problem in &invalid.0 {
        assert!(!problem.field.is_empty() && !problem.reason.to_string().is_empty());
    }
}

/// Both ways of reading a profile give the same settings, but for what is below a millisecond.
fn same(one: Result<Shared, Invalid>, other: impl FnOnce() -> Result<Shared, Invalid>) {
    let Ok(one) = one else {
        return;
    };
    // The pauses may just have fitted into a timeout that lost its microseconds.
    if one.handshake_timeout.subsec_nanos() % 1_000_000 != 0 {
        return;
    }
    let other = other().expect("it was taken before");
    assert_eq!(
        (
            &one.params,
            one.budget,
            one.padding,
            one.counting,
            one.max_streams
        ),
        (
            &other.params,
            other.budget,
            other.padding,
            other.counting,
            other.max_streams
        )
    );
    assert_eq!(one.handshake_timeout, other.handshake_timeout);
}
