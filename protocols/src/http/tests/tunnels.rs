//! CONNECT and Upgrade.
use super::*;
use sansbox_core::End;

const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

#[test]
fn connect_keeps_bytes_that_came_early_and_passes_each_end() {
    let mut rig = Rig::new(Auth::None);
    rig.client("CONNECT [::1]:443 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\nhello");
    assert_eq!(rig.event(), request_for("[::1]:443", true));
    assert!(!rig.server.is_transparent());
    rig.upstream("hi");
    assert_eq!(
        (rig.at_client(), rig.at_upstream()),
        (String::new(), String::new())
    );
    rig.accept();
    assert!(rig.server.is_transparent());
    assert_eq!(rig.at_upstream(), "hello");
    assert_eq!(rig.at_client(), format!("{ESTABLISHED}hi"));
    rig.client_fin();
    assert_eq!(
        (rig.to_upstream.end(), rig.to_client.end()),
        (End::Fin, End::Open)
    );
    rig.upstream("GET / HTTP/1.1\n");
    rig.upstream_fin();
    assert_eq!(rig.at_client(), "GET / HTTP/1.1\n");
    assert_eq!((rig.to_client.end(), rig.event()), (End::Fin, None));
    assert_eq!(rig.server.poll_timeout(), None);
}

#[test]
fn connect_works_for_http10_without_host_and_after_requests() {
    let mut rig = Rig::accepted(GET);
    rig.upstream(OK);
    rig.at_client();
    rig.client("CONNECT a.b:443 HTTP/1.0\r\n\r\n");
    assert_eq!(
        (rig.event(), rig.event()),
        (DONE, request_for("a.b:443", true))
    );
    rig.fresh_upstream();
    rig.accept();
    assert_eq!(rig.at_client(), ESTABLISHED);
    rig.client("x");
    assert_eq!(rig.at_upstream(), "x");
}

#[test]
fn a_tunnel_passes_a_reset() {
    let mut rig = Rig::accepted("CONNECT a.b:443 HTTP/1.1\r\n\r\n");
    let _ = rig.from_client.reset();
    rig.run();
    assert_eq!((rig.to_upstream.end(), rig.error), (End::Reset, None));
}

#[test]
fn transparent_only_once_the_reply_is_handed_over() {
    let mut rig = Rig::new(Auth::None);
    rig.to_client = Pipe::new(0);
    rig.client("CONNECT a.b:443 HTTP/1.1\r\n\r\n");
    rig.accept();
    assert!(!rig.server.is_transparent());
    rig.to_client = Pipe::new(1);
    rig.run();
    assert!(rig.server.is_transparent());
}

#[test]
fn an_upgrade_becomes_a_tunnel() {
    let mut rig = Rig::accepted(
        "GET http://a.b/ws HTTP/1.1\r\nHost: a.b\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\nearly",
    );
    assert_eq!(
        rig.at_upstream(),
        "GET /ws HTTP/1.1\r\nHost: a.b\r\nSec-WebSocket-Key: x\r\n\
         Upgrade: websocket\r\nConnection: upgrade\r\n\r\n"
    );
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    rig.upstream(&format!("{switch}frame"));
    assert_eq!(rig.at_client(), format!("{switch}frame"));
    assert_eq!(rig.at_upstream(), "early");
    assert!(rig.server.is_transparent());
    rig.client_fin();
    assert_eq!((rig.to_upstream.end(), rig.event()), (End::Fin, None));
}

#[test]
fn a_declined_upgrade_is_an_ordinary_exchange() {
    let mut rig = Rig::accepted(
        "GET http://a.b/ HTTP/1.1\r\nHost: a.b\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    );
    rig.upstream(OK);
    assert_eq!((rig.at_client().as_str(), rig.event()), (OK, DONE));
    rig.client(GET);
    assert!(rig.event().is_some());
}
