//! HTTP requests through a session.
use super::*;
use sansbox_engine::ids::ActionId;

fn dial(s: &mut Session) -> (ActionId, Slot, String) {
    match action(s) {
        Some(Action::Dial { id, slot, to, .. }) => (id, slot, to.to_string()),
        other => panic!("{other:?}"),
    }
}

fn connected(s: &mut Session, id: ActionId) {
    s.apply(
        T0,
        Input::Done(id, Outcome::Connected("127.0.0.1:40000".parse().unwrap())),
    );
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const GET_A: &[u8] = b"GET http://192.0.2.1/a HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n";
const GET_B: &[u8] = b"GET http://192.0.2.2/b HTTP/1.1\r\nHost: 192.0.2.2\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn a_kept_upstream_serves_the_next_request_for_the_same_target_only() {
    let plan = plan(&[]);
    let mut s = session(&plan);
    send(&mut s, Slot::CLIENT, GET_A);
    let (id, a, to) = dial(&mut s);
    assert_eq!(to, "192.0.2.1:80");
    connected(&mut s, id);
    let request = text(&take(&mut s, a));
    assert!(request.starts_with("GET /a HTTP/1.1\r\n"), "{request}");
    send(&mut s, a, OK);
    assert!(text(&take(&mut s, Slot::CLIENT)).ends_with("\r\n\r\nhi"));

    send(&mut s, Slot::CLIENT, GET_A);
    assert!(action(&mut s).is_none(), "the same upstream is used");
    assert!(text(&take(&mut s, a)).starts_with("GET /a"));
    send(&mut s, a, OK);
    assert!(text(&take(&mut s, Slot::CLIENT)).ends_with("hi"));

    send(&mut s, Slot::CLIENT, GET_B);
    assert!(matches!(action(&mut s), Some(Action::Close(slot, End::Fin)) if slot == a));
    let (id, b, to) = dial(&mut s);
    assert_eq!(to, "192.0.2.2:80");
    connected(&mut s, id);
    assert!(text(&take(&mut s, b)).starts_with("GET /b"));
    send(&mut s, b, OK);
    assert!(text(&take(&mut s, Slot::CLIENT)).ends_with("hi"));
    s.apply(T0, Input::Ended(Slot::CLIENT, End::Fin));
    while action(&mut s).is_some() {}
    assert!(s.is_finished());
    assert_eq!(s.record().closed, Some(CloseReason::Completed));
}

#[test]
fn a_kept_upstream_serves_no_request_of_another_user() {
    let plan = plan(&[("alice", "a"), ("bob", "b")]);
    let mut s = session(&plan);
    let get = |credentials: &str| {
        let head = "GET http://192.0.2.1/a HTTP/1.1\r\nHost: 192.0.2.1\r\n";
        format!("{head}Proxy-Authorization: Basic {credentials}\r\n\r\n")
    };
    send(&mut s, Slot::CLIENT, get("YWxpY2U6YQ==").as_bytes());
    let (id, a, _) = dial(&mut s);
    connected(&mut s, id);
    assert!(text(&take(&mut s, a)).starts_with("GET /a"));
    send(&mut s, a, OK);
    assert!(text(&take(&mut s, Slot::CLIENT)).ends_with("hi"));

    // A rule may send this user elsewhere, or nowhere.
    send(&mut s, Slot::CLIENT, get("Ym9iOmI=").as_bytes());
    assert!(matches!(action(&mut s), Some(Action::Close(slot, End::Fin)) if slot == a));
    let (id, b, _) = dial(&mut s);
    connected(&mut s, id);
    assert!(text(&take(&mut s, b)).starts_with("GET /a"));
}

#[test]
fn a_refused_request_is_told_and_the_connection_serves_on() {
    let plan = plan(&[]);
    let mut s = session(&plan);
    send(&mut s, Slot::CLIENT, GET_A);
    let (id, _, _) = dial(&mut s);
    s.apply(
        T0,
        Input::Done(id, Outcome::Failed(Refusal::ConnectionRefused)),
    );
    let answer = text(&take(&mut s, Slot::CLIENT));
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(answer.contains("refused"), "{answer}");
    send(&mut s, Slot::CLIENT, GET_B);
    let (id, b, _) = dial(&mut s);
    connected(&mut s, id);
    assert!(text(&take(&mut s, b)).starts_with("GET /b"));
}

#[test]
fn a_tunnel_with_early_data_goes_to_passthrough() {
    let plan = plan(&[]);
    let mut s = session(&plan);
    send(
        &mut s,
        Slot::CLIENT,
        b"CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: x\r\n\r\nearly",
    );
    let (id, a, _) = dial(&mut s);
    connected(&mut s, id);
    assert_eq!(take(&mut s, a), b"early");
    assert!(text(&take(&mut s, Slot::CLIENT)).starts_with("HTTP/1.1 200 "));
    assert!(matches!(action(&mut s), Some(Action::Passthrough(Slot::CLIENT, b)) if b == a));
}

#[test]
fn requests_without_credentials_are_asked_for_them() {
    let plan = plan(&[("u", "p")]);
    let mut s = session(&plan);
    send(&mut s, Slot::CLIENT, GET_A);
    let answer = text(&take(&mut s, Slot::CLIENT));
    assert!(answer.starts_with("HTTP/1.1 407 "), "{answer}");
    assert!(answer.contains("Proxy-Authenticate: Basic"), "{answer}");
    send(
        &mut s,
        Slot::CLIENT,
        b"GET http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\nProxy-Authorization: Basic dTpw\r\n\r\n",
    );
    let (id, a, _) = dial(&mut s);
    connected(&mut s, id);
    assert!(!text(&take(&mut s, a)).contains("Proxy-Authorization"));
}

#[test]
fn an_upstream_that_resets_before_it_answers_is_a_bad_gateway() {
    let plan = plan(&[]);
    let mut s = session(&plan);
    send(&mut s, Slot::CLIENT, GET_A);
    let (id, a, _) = dial(&mut s);
    connected(&mut s, id);
    take(&mut s, a);
    s.apply(T0, Input::Ended(a, End::Reset));
    let answer = text(&take(&mut s, Slot::CLIENT));
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}
