//! The pin of a server's certificate.
use super::*;

const NOW: u64 = 1_800_000_000;

fn private(profile: &Profile) -> &PrivateKey {
    let private = profile.obfuscation.server_private_key.as_ref();
    private.expect("a server has one")
}

/// A server's profile with its pin.
fn pinned() -> Profile {
    let mut profile = good();
    profile.server_pin = Some(private(&profile).pin());
    profile
}

#[test]
fn the_pin_survives_every_form_and_reaches_the_client() {
    let profile = pinned();
    let pin = profile.server_pin.clone();
    let forms = [
        Profile::from_json(profile.to_json().as_bytes()).unwrap(),
        Profile::from_cbor(&profile.to_cbor().unwrap()).unwrap(),
        Profile::from_link(&profile.to_link().unwrap()).unwrap(),
        profile.for_clients(),
    ];
    for read in forms {
        assert!(pin.is_some() && read.server_pin == pin);
        let settings = read.for_clients().client().unwrap().settings;
        assert_eq!(settings.pin, pin);
    }
    assert_eq!(good().for_clients().client().unwrap().settings.pin, None);
}

/// Go's numbers end far below, and its readers pass over what they do not know.
#[test]
fn the_pin_is_the_last_entry_of_the_cbor() {
    let (with, without) = (pinned().to_cbor().unwrap(), good().to_cbor().unwrap());
    let entry = with.len() - without.len();
    assert_eq!(entry, 3 + 2 + 32);
    assert_eq!(with[1..without.len()], without[1..]);
    assert_eq!(with[without.len()..][..5], [0x19, 0x03, 0xe8, 0x58, 0x20]);
    assert_eq!(with[0], without[0] + 1);
}

#[test]
fn what_is_no_pin_is_refused_with_its_name() {
    for (text, expected) in [
        (
            r#"{"server_pin": "AAAA"}"#,
            "server_pin: 3 bytes, where there must be 32",
        ),
        (
            r#"{"server_pin": "?"}"#,
            "server_pin: not standard base64 with padding",
        ),
        (r#"{"server_pin": 7}"#, "server_pin: must be text"),
    ] {
        assert_eq!(json(text).unwrap_err().to_string(), expected, "{text}");
    }
    assert_eq!(json(r#"{"server_pin": ""}"#).unwrap().server_pin, None);
    // {0: 1, 1000: h'00'}
    let short = [0xa2, 0, 1, 0x19, 0x03, 0xe8, 0x41, 0];
    let error = Profile::from_cbor(&short).unwrap_err().to_string();
    assert_eq!(error, "server_pin: 1 bytes, where there must be 32");
}

#[test]
fn a_server_refuses_a_pin_that_is_not_its_own() {
    let mut profile = pinned();
    assert!(profile.server(NOW).is_ok());
    profile.server_pin = Some(ServerPin::new([7; 32]));
    let error = profile.server(NOW).unwrap_err().to_string();
    let said = "server_pin: not the pin of the server with this server_private_key";
    assert!(error.contains(said), "{error}");
    // A client cannot tell, and takes it.
    assert!(profile.for_clients().client().is_ok());
    profile.obfuscation.server_private_key = None;
    let error = profile.server(NOW).unwrap_err().to_string();
    assert!(
        error.contains("server_pin: needs server_private_key"),
        "{error}"
    );
}

/// Clients keep what was computed once, so it must never change. Computed apart from this program:
/// BLAKE2s with the key, the point by scalar multiplication, SHA-256 of the DER.
#[test]
fn a_private_key_leads_to_the_same_pin_for_ever() {
    let key = PrivateKey::new(core::array::from_fn(|n| u8::try_from(n).unwrap()));
    assert_eq!(
        *key.pin().to_base64(),
        "EjW1RCeSejMReRMPyk9ZCNwfs3/+26yTHyupWZzqNZI="
    );
    assert_ne!(
        PrivateKey::new([7; 32]).pin(),
        PrivateKey::new([8; 32]).pin()
    );
}
