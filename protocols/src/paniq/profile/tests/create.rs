//! Drawn profiles.
use super::*;
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
