//! Drawn profiles.
use super::*;
use crate::paniq::{
    Draws,
    preamble::{Client, Heard, Rules, Server, SourcePort},
    timestamp::UnixTime,
};
use bytes::BytesMut;
use sansbox_core::Instant;
use std::collections::BTreeSet;

#[test]
fn every_drawn_profile_works_on_both_sides() {
    for n in 0..400 {
        let mtu = [1280, 1285, 1300, 1340, 1381, 1420, 1500, 9000, MTU_MAX][n % 9];
        let new = NewProfile {
            name: "n",
            proxy_addr: "[2001:db8::1]:443",
            mtu,
        };
        let profile = new.draw(Seed::from_u64(n as u64)).unwrap();
        let server = profile.server(0).unwrap();
        let client = profile.for_clients().client().unwrap();
        assert_eq!(server.warnings, [], "{mtu}");
        assert_eq!(client.warnings, [], "{mtu}");
        assert_eq!(client.settings.shared, server.settings.shared);
        assert!(server.settings.require_encrypted_timestamp);
        assert!(client.settings.encrypted_timestamp);
        let obfuscation = &profile.obfuscation;
        assert!((3..=5).contains(&obfuscation.jc));
        assert!((200..=600).contains(&obfuscation.jmin));
        assert!((900..=1400.min(i64::from(mtu) - 100).max(900)).contains(&obfuscation.jmax));
        let [s1, s2, s3, s4] = obfuscation.s;
        assert!((200..=520).contains(&s1) && (260..=640).contains(&s2));
        assert!((120..=360).contains(&s3) && (20..=80).contains(&s4));
        assert_eq!(profile.quic.max_payload, 1200);
        headers(&server.settings.shared.params);
    }
}

/// Ascending, of one width, no highest byte twice.
fn headers(params: &crate::paniq::obf::Params) {
    let ranges = crate::paniq::obf::Kind::ALL.map(|kind| params.header(kind));
    let tops: BTreeSet<_> = ranges.iter().map(|range| range.start() >> 24).collect();
    assert_eq!(tops.len(), 4);
    assert!(ranges.is_sorted_by_key(|range| range.start()));
    let [first, ..] = ranges;
    assert!((513..=2049).contains(&first.width()));
    for range in ranges {
        assert_eq!(range.width(), first.width());
        assert_eq!(range.start() >> 24, range.end() >> 24);
    }
}

#[test]
fn a_seed_leads_to_one_profile_and_another_to_another() {
    let new = NewProfile {
        name: "",
        proxy_addr: "",
        mtu: 1420,
    };
    let draw = |n| new.draw(Seed::from_u64(n)).unwrap();
    assert_eq!(draw(1), draw(1));
    let keys: Vec<_> = (0..50)
        .map(|n| draw(n).obfuscation.server_public_key.unwrap().to_base64())
        .collect();
    let distinct: BTreeSet<&str> = keys.iter().map(|key| key.as_str()).collect();
    assert_eq!(distinct.len(), 50);
}

#[test]
fn a_path_must_carry_quic() {
    for (mtu, is_good) in [
        (0, false),
        (1279, false),
        (1280, true),
        (65_507, true),
        (65_508, false),
    ] {
        let new = NewProfile {
            name: "",
            proxy_addr: "",
            mtu,
        };
        assert_eq!(new.draw(Seed::from_u64(1)).is_ok(), is_good, "{mtu}");
    }
}

#[test]
fn public_keys_belong_to_private_ones() {
    // RFC 7748 section 6.1: Alice's keys.
    let private = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
    let public = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
    let key = PrivateKey::from_base64(private).unwrap();
    assert_eq!(*key.public().to_base64(), public);
    assert_eq!(*key.to_base64(), private);
}

#[test]
fn keys_are_never_printed() {
    let profile = good();
    let shown = format!("{profile:?} {:?}", profile.server(0));
    let obfuscation = &profile.obfuscation;
    let private = obfuscation.server_private_key.as_ref().unwrap();
    for key in [private.as_bytes(), private.public().as_bytes()] {
        assert!(!shown.contains(&format!("{key:?}")));
    }
    assert!(shown.contains("PrivateKey(..)") && shown.contains("PublicKey(..)"));
}

/// The client of `profile` knocks at its server; true when the door opens.
fn shakes_hands(profile: &Profile) -> bool {
    let wall = UnixTime {
        secs: 1_800_000_000,
        nanos: 0,
    };
    let mut now = Instant::ZERO;
    let settings = profile.server(wall.secs).unwrap().settings;
    let config = settings.preamble(Draws::new(Seed::from_u64(2)));
    let mut server = Server::new(config, Rules::default());
    let settings = profile.for_clients().client().unwrap().settings;
    let config = settings.preamble(SourcePort::Kept);
    let mut client = Client::new(now, config, Seed::from_u64(3)).unwrap();
    let source = std::net::SocketAddr::from(([192, 0, 2, 7], 4000));
    let mut sent = 0;
    while now < Instant::ZERO + std::time::Duration::from_secs(5) {
        let mut datagram = BytesMut::new();
        if client.poll_transmit(now, wall, &mut datagram).is_none() {
            now = client.poll_timeout().unwrap();
            continue;
        }
        sent += 1;
        let mut answer = BytesMut::new();
        let taken = server.handle_datagram(now, wall, source, &datagram, &mut answer);
        if taken.is_ok() && !answer.is_empty() {
            assert_eq!(sent, settings.shared.params.preamble_len());
            return client.handle_datagram(&answer) == Heard::Response;
        }
    }
    false
}

#[test]
fn both_sides_of_a_drawn_profile_shake_hands() {
    let profile = good();
    assert!(shakes_hands(&profile));
    // Also when it went through a link, and the server has its file from elsewhere.
    let linked = Profile::from_link(&profile.to_link().unwrap()).unwrap();
    let mut joined = profile.clone();
    joined.obfuscation.h = linked.obfuscation.h;
    joined.transport_padding = linked.transport_padding;
    assert!(shakes_hands(&joined));
    // Not with a key that is not the server's.
    let mut other = profile;
    other.obfuscation.server_public_key = Some(PublicKey::new([9; 32]));
    assert!(!shakes_hands(&other));
}
