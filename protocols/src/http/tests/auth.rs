//! Basic authentication of the proxy's users.
use super::*;
use crate::Secret;

fn get(value: &str) -> String {
    format!("GET http://a.b/ HTTP/1.1\r\nHost: a.b\r\nProxy-Authorization: {value}\r\n\r\n")
}

fn asks_for(username: &str, password: &str) -> Option<ServerEvent> {
    Some(ServerEvent::Auth {
        username: Secret::new(username.as_bytes()),
        password: Secret::new(password.as_bytes()),
    })
}

#[test]
fn every_request_is_authenticated() {
    let mut rig = Rig::new(Auth::Basic);
    for _ in 0..2 {
        rig.client(&get("Basic YTpi"));
        assert_eq!(rig.event(), asks_for("a", "b"));
        assert_eq!(rig.event(), None);
        rig.server.auth_result(true);
        rig.run();
        assert_eq!(rig.event(), request_for("a.b:80", false));
        rig.accept();
        assert!(
            !rig.at_upstream().contains("Proxy-Auth"),
            "credentials stay here"
        );
        rig.upstream(OK);
        assert_eq!(rig.event(), DONE);
    }
    rig.at_client();
    rig.client(GET);
    assert_eq!((rig.event(), rig.reply().0), (None, 407));
}

#[test]
fn missing_or_garbled_credentials_get_a_challenge() {
    for request in [
        GET.to_owned(),
        get("Basic !!"),
        get("Bearer YTpi"),
        get("Basic YTpi\r\nProxy-Authorization: Basic YTpi"),
        "CONNECT a.b:443 HTTP/1.1\r\n\r\n".to_owned(),
    ] {
        let mut rig = Rig::new(Auth::Basic);
        rig.client(&request);
        assert_eq!(rig.event(), None);
        let reply = rig.at_client();
        assert!(reply.starts_with("HTTP/1.1 407 "), "{request:?}");
        assert!(reply.contains("\r\nProxy-Authenticate: Basic realm="));
        // The client tries again on the same connection.
        rig.client(&get("Basic YTpi"));
        assert_eq!(rig.event(), asks_for("a", "b"));
    }
}

#[test]
fn a_wrong_password_gets_a_challenge_and_the_body_is_skipped() {
    let mut rig = Rig::new(Auth::Basic);
    rig.client(
        "POST http://a.b/ HTTP/1.1\r\nHost: a.b\r\nContent-Length: 3\r\n\
         Proxy-Authorization: Basic YTpi\r\n\r\na",
    );
    assert_eq!(rig.event(), asks_for("a", "b"));
    rig.server.auth_result(false);
    rig.run();
    assert_eq!((rig.reply().0, rig.event()), (407, None));
    rig.client(&format!("bc{}", get("Basic YTpj")));
    assert_eq!(rig.event(), asks_for("a", "c"));
}

#[test]
fn answers_out_of_turn_change_nothing() {
    let mut rig = Rig::new(Auth::Basic);
    rig.server.accept();
    rig.server.auth_result(true);
    rig.server.refuse(sansbox_core::Refusal::Policy);
    rig.client(&get("Basic YTpi"));
    rig.server.accept();
    rig.server.refuse(sansbox_core::Refusal::Policy);
    rig.run();
    assert_eq!(
        (rig.at_client().as_str(), rig.at_upstream().as_str()),
        ("", "")
    );
    assert_eq!(rig.event(), asks_for("a", "b"));
}

#[test]
fn debug_output_shows_no_credentials() {
    let mut rig = Rig::new(Auth::Basic);
    rig.client(&get(
        "Basic c2VjcmV0dXNlcjpzZWNyZXRwYXNz\r\nAuthorization: Basic b3RoZXI=",
    ));
    let mut shown = format!("{:?}", rig.server);
    shown += &format!("{:?}", rig.event());
    rig.server.auth_result(true);
    shown += &format!("{:?}", rig.server);
    rig.server.accept();
    shown += &format!("{:?}", rig.server);
    assert!(shown.contains("SendHead"));
    for part in [
        "secretuser",
        "secretpass",
        "c2VjcmV0",
        "115, 101, 99",
        "b3RoZXI",
    ] {
        assert!(!shown.contains(part), "{shown}");
    }
}
