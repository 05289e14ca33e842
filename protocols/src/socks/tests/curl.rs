//! What curl 7.88.1 sends in each of its SOCKS modes, recorded.
use super::{Input, Owner, Schedule, hex, open_owner, server::request};
use crate::socks::{Auth, Command};

/// Mode and user, has the inbound users, handshake of curl, target.
const SESSIONS: [(&str, Auth, &str, &str); 9] = [
    (
        "socks4",
        Auth::None,
        "0401 1f90 7f000001 00",
        "127.0.0.1:8080",
    ),
    (
        "socks4 u",
        Auth::None,
        "0401 1f90 7f000001 7500",
        "127.0.0.1:8080",
    ),
    (
        "socks4a",
        Auth::None,
        "0401 0050 00000001 00 6578616d706c652e636f6d00",
        "example.com:80",
    ),
    (
        "socks5",
        Auth::None,
        "05 02 0001 050100 01 7f000001 1f90",
        "127.0.0.1:8080",
    ),
    (
        "socks5, IPv6",
        Auth::None,
        "05 02 0001 050100 04 00000000000000000000000000000001 1f90",
        "[::1]:8080",
    ),
    (
        "socks5-hostname",
        Auth::None,
        "05 02 0001 050100 03 0b 6578616d706c652e636f6d 0050",
        "example.com:80",
    ),
    (
        "socks5-hostname, address",
        Auth::None,
        "05 02 0001 050100 01 7f000001 1f90",
        "127.0.0.1:8080",
    ),
    (
        "socks5-hostname u:pw",
        Auth::Password,
        "05 03 000102 01 01 75 02 7077 050100 03 0b 6578616d706c652e636f6d 0050",
        "example.com:80",
    ),
    (
        "socks5-hostname u:pw, no users here",
        Auth::None,
        "05 03 000102 050100 03 0b 6578616d706c652e636f6d 0050",
        "example.com:80",
    ),
];

#[test]
fn curl_is_served_in_all_its_modes() {
    for (mode, auth, client, to) in SESSIONS {
        let owner = Owner {
            auth,
            ..open_owner()
        };
        let bytes = [&hex(client)[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
        let (peer, local) = (Input::open(&bytes), Input::open(b"HTTP/1.1 204 "));
        let outcome = owner.run(peer, local, &Schedule::at_once());
        assert_eq!(
            outcome.events.last(),
            Some(&request(Command::Connect, to)),
            "{mode}"
        );
        assert_eq!(outcome.delivered, b"GET / HTTP/1.1\r\n\r\n", "{mode}");
        assert!(outcome.sent.ends_with(b"HTTP/1.1 204 "), "{mode}");
        assert_eq!(outcome.error, None, "{mode}");
    }
}
