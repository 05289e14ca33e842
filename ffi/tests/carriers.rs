//! Tunnels: a loop in C cannot have them, the library's own can.
#![expect(unsafe_code, reason = "calls the interface as C does")]
use sansbox_ffi::{
    door::{instance::*, plan::*},
    status::Status,
};
use std::{
    ffi::CStr,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    ptr::null_mut,
    thread,
    time::Duration,
};

/// A call that takes JSON and gives a handle.
type New = unsafe extern "C" fn(
    *const core::ffi::c_char,
    usize,
    *mut core::ffi::c_char,
    usize,
    *mut u64,
) -> Status;

fn call(new: New, json: &str) -> (Status, u64, String) {
    let (mut text, mut handle) = ([0; 400], 0);
    // SAFETY: all pointers are to what stands here.
    let status = unsafe {
        new(
            json.as_ptr().cast(),
            json.len(),
            text.as_mut_ptr(),
            text.len(),
            &raw mut handle,
        )
    };
    // SAFETY: the text ends in a zero, or is the zeros that were there.
    let text = unsafe { CStr::from_ptr(text.as_ptr()) };
    (status, handle, text.to_string_lossy().into_owned())
}

fn profile(port: u16) -> String {
    format!(r#"{{"proxy_addr": "127.0.0.1:{port}", "obfuscation": {{"i1": "<t>", "s4": 20}}}}"#)
}

#[test]
fn plans_for_machines_have_no_tunnels() {
    let profile = profile(9000);
    for json in [
        format!(r#"{{"inbounds": [{{"type": "paniq", "profile": {profile}}}]}}"#),
        format!(r#"{{"outbounds": [{{"type": "paniq", "profile": {profile}}}]}}"#),
    ] {
        let (status, handle, text) = call(sansbox_plan_new, &json);
        assert_eq!((status, handle), (Status::BadConfig, 0), "{text}");
        assert!(text.contains("sansbox_start"), "{text}");
    }
}

/// Two ports of 127.0.0.1 that were free a moment ago, for TCP and for UDP.
fn free_ports() -> [u16; 2] {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("bind");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let [tcp, udp] = [tcp.local_addr(), udp.local_addr()];
    [tcp, udp].map(|address| address.expect("an address").port())
}

#[test]
fn an_instance_is_both_ends_of_a_tunnel() {
    let [socks, server] = free_ports();
    let profile = profile(server);
    let json = format!(
        r#"{{
            "inbounds": [
                {{"type": "socks", "tag": "near", "listen_port": {socks}}},
                {{"type": "paniq", "tag": "far", "listen_port": {server}, "profile": {profile},
                  "allow_private": true}}],
            "outbounds": [
                {{"type": "paniq", "tag": "up", "profile": {profile}}},
                {{"type": "direct", "tag": "direct"}}],
            "route": {{"rules": [{{"inbound": "far", "outbound": "direct"}}], "final": "up"}}
        }}"#
    );
    let (status, instance, text) = call(sansbox_start, &json);
    assert_eq!(status, Status::Ok, "{text}");
    let target = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = target.local_addr().expect("an address").port();
    let served = thread::spawn(move || {
        let (mut stream, _) = target.accept().expect("accept");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("all of it");
        stream.write_all(&bytes).expect("send");
    });
    let mut client = TcpStream::connect(("127.0.0.1", socks)).expect("connect");
    let timeout = Some(Duration::from_secs(20));
    client.set_read_timeout(timeout).expect("a timeout");
    let [high, low] = port.to_be_bytes();
    let request = [5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, high, low];
    client.write_all(&request).expect("send");
    client.write_all(b"through the tunnel").expect("send");
    let half = client.shutdown(std::net::Shutdown::Write);
    half.expect("half-close");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("an answer");
    assert_eq!(answer.get(..5), Some(&[5, 0, 5, 0, 0][..]), "{answer:?}");
    assert!(answer.ends_with(b"through the tunnel"), "{answer:?}");
    served.join().expect("served");
    // SAFETY: no totals are asked for.
    let status = unsafe { sansbox_stop(instance, 100, 5000, null_mut()) };
    assert_eq!(status, Status::Ok);
}
