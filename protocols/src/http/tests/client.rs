//! CONNECT through another proxy.
use super::*;
use sansbox_core::{End, Host, Refusal, Target};

fn target() -> Target {
    Target::new(Host::parse(b"a.b").unwrap(), 443)
}

fn client(options: &ConnectOptions) -> (Client, Pipe, Pipe, Pipe, Pipe) {
    let client = Client::new(Instant::ZERO, &target(), options, TIMEOUT);
    let pipe = || Pipe::new(HEAD_LEN_MAX);
    (client, pipe(), pipe(), pipe(), pipe())
}

fn request(path: &str, headers: &[(&str, &str)], credentials: Option<Credentials>) -> String {
    let headers = headers.iter().copied();
    let options = ConnectOptions::new(path, headers, credentials.as_ref()).unwrap();
    let (mut client, _, mut wire, mut app, _) = client(&options);
    app.push_slice(b"too early");
    let now = Instant::ZERO;
    let _ = client.poll_transmit(now, &mut app, &mut wire).unwrap();
    assert_eq!(
        client.poll_transmit(now, &mut app, &mut wire),
        Ok(Progress::NONE)
    );
    drain(&mut wire)
}

type Headers<'a> = &'a [(&'a str, &'a str)];

#[test]
fn requests_are_written_as_configured() {
    let keep = "Proxy-Connection: Keep-Alive\r\n";
    let user = || Credentials::new(b"a", b"b");
    let rows: [(&str, Headers<'_>, Option<Credentials>, String); 5] = [
        (
            "",
            &[],
            None,
            format!("CONNECT a.b:443 HTTP/1.1\r\nHost: a.b:443\r\n{keep}\r\n"),
        ),
        (
            "/x",
            &[("X-A", "1"), ("X-A", "2")],
            None,
            format!("CONNECT /x HTTP/1.1\r\nHost: a.b:443\r\nX-A: 1\r\nX-A: 2\r\n{keep}\r\n"),
        ),
        (
            "",
            &[("host", "c.d")],
            None,
            format!("CONNECT a.b:443 HTTP/1.1\r\nHost: c.d\r\n{keep}\r\n"),
        ),
        (
            "",
            &[("proxy-connection", "close")],
            None,
            "CONNECT a.b:443 HTTP/1.1\r\nHost: a.b:443\r\nproxy-connection: close\r\n\r\n"
                .to_owned(),
        ),
        (
            "",
            &[("Proxy-Authorization", "old")],
            user(),
            format!(
                "CONNECT a.b:443 HTTP/1.1\r\nHost: a.b:443\r\n{keep}\
                 Proxy-Authorization: Basic YTpi\r\n\r\n"
            ),
        ),
    ];
    for (path, headers, credentials, expected) in rows {
        assert_eq!(request(path, headers, credentials), expected);
    }
}

#[test]
fn options_that_would_break_the_head_are_refused() {
    let rows: [(&str, Headers<'_>, BadOption); 10] = [
        ("/a b", &[], BadOption::Path),
        ("/\r\nX: y", &[], BadOption::Path),
        ("", &[("A\r\nB", "c")], BadOption::HeaderName),
        ("", &[("", "c")], BadOption::HeaderName),
        ("", &[("A:", "c")], BadOption::HeaderName),
        ("", &[("A", "b\r\nC: d")], BadOption::HeaderValue),
        ("", &[("A", "b\0")], BadOption::HeaderValue),
        ("", &[("content-length", "3")], BadOption::Framing),
        ("", &[("Host", "a"), ("HOST", "b")], BadOption::Host),
        ("/x", &[("Host", "a")], BadOption::Host),
    ];
    for (path, headers, expected) in rows {
        let result = ConnectOptions::new(path, headers.iter().copied(), None);
        assert_eq!(result.err(), Some(expected), "{path:?} {headers:?}");
    }
}

/// What comes of an answer, given byte by byte: bytes for the application, or an error.
fn answered(answer: &str, fin: bool) -> Result<String, Error> {
    let options = ConnectOptions::new("", [], None).unwrap();
    let (mut client, mut rx, mut tx, mut app_out, mut app_in) = client(&options);
    let now = Instant::ZERO;
    let _ = client.poll_transmit(now, &mut app_out, &mut tx)?;
    for byte in answer.as_bytes() {
        rx.push_slice(&[*byte]);
        let _ = client.handle_input(now, &mut rx, &mut app_in)?;
    }
    if fin {
        let _ = rx.finish();
        let _ = client.handle_input(now, &mut rx, &mut app_in)?;
    }
    assert_eq!(client.is_transparent(), client.poll_event().is_some());
    assert_eq!(client.poll_event(), None);
    Ok(drain(&mut app_in))
}

#[test]
fn answers_open_the_tunnel_or_say_why_not() {
    let ok = |text: &str| Ok(text.to_owned());
    let rows = [
        ("HTTP/1.1 200 OK\r\n\r\nabc", ok("abc")),
        ("HTTP/1.0 200\r\n\r\n", ok("")),
        ("HTTP/1.1 299 X\r\nContent-Length: 2\r\n\r\nabc", ok("abc")),
        (
            "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nabc",
            ok("abc"),
        ),
        (
            "HTTP/1.1 100 X\r\n\r\nHTTP/1.1 103 X\r\n\r\nHTTP/1.1 200 X\r\n\r\na",
            ok("a"),
        ),
        (
            "HTTP/1.1 407 X\r\n\r\n",
            Err(Error::Refused { status: 407 }),
        ),
        (
            "HTTP/1.1 302 X\r\n\r\n",
            Err(Error::Refused { status: 302 }),
        ),
        (
            "HTTP/1.1 101 X\r\n\r\n",
            Err(Error::BadAnswer(Malformed::Switched)),
        ),
        (
            "HTTP/1.1 200 OK\n",
            Err(Error::BadAnswer(Malformed::BareLf)),
        ),
        (
            "SSH-2.0\r\n\r\n",
            Err(Error::BadAnswer(Malformed::StatusLine)),
        ),
        ("HTTP/1.1 200 OK\r\n", Err(Error::NoAnswer)),
        ("", Err(Error::NoAnswer)),
    ];
    for (answer, expected) in rows {
        assert_eq!(answered(answer, true), expected, "{answer:?}");
    }
    let endless = format!("HTTP/1.1 200 {}", "x".repeat(HEAD_LEN_MAX));
    let too_large = Err(Error::BadAnswer(Malformed::HeadTooLarge));
    assert_eq!(answered(&endless, false), too_large);
}

#[test]
fn a_tunnel_carries_bytes_and_ends_both_ways() {
    let options = ConnectOptions::new("", [], None).unwrap();
    let (mut client, mut rx, mut tx, mut app_out, mut app_in) = client(&options);
    let now = Instant::ZERO;
    let _ = client.poll_transmit(now, &mut app_out, &mut tx).unwrap();
    drain(&mut tx);
    app_out.push_slice(b"up");
    let _ = app_out.finish();
    assert_eq!(client.poll_timeout(), Some(after(10)));
    rx.push_slice(b"HTTP/1.1 200 OK\r\n\r\ndown");
    let _ = rx.finish();
    let _ = client.handle_input(now, &mut rx, &mut app_in).unwrap();
    let _ = client.poll_transmit(now, &mut app_out, &mut tx).unwrap();
    assert_eq!((drain(&mut tx).as_str(), tx.end()), ("up", End::Fin));
    assert_eq!(
        (drain(&mut app_in).as_str(), app_in.end()),
        ("down", End::Fin)
    );
    assert_eq!(client.poll_timeout(), None);
}

#[test]
fn a_proxy_that_does_not_answer_times_out() {
    let options = ConnectOptions::new("", [], None).unwrap();
    let (mut client, ..) = client(&options);
    assert_eq!(client.handle_timeout(after(9)), Ok(Progress::NONE));
    let error = client.handle_timeout(after(10)).unwrap_err();
    assert_eq!(error.refusal(), Refusal::TimedOut);
    assert_eq!(client.poll_timeout(), None);
}

#[test]
fn our_client_and_our_server_agree() {
    let credentials = Credentials::new(b"user", b"pass:word");
    let options = ConnectOptions::new("", [], credentials.as_ref()).unwrap();
    let (mut client, _, _, mut app_out, mut app_in) = client(&options);
    let mut rig = Rig::new(Auth::Basic);
    let now = Instant::ZERO;
    let _ = client
        .poll_transmit(now, &mut app_out, &mut rig.from_client)
        .unwrap();
    rig.run();
    let Some(ServerEvent::Auth { username, password }) = rig.event() else {
        panic!("credentials were sent");
    };
    assert!(username.matches(b"user") && password.matches(b"pass:word"));
    rig.server.auth_result(true);
    assert_eq!(rig.event(), request_for("a.b:443", true));
    rig.accept();
    let _ = client
        .handle_input(now, &mut rig.to_client, &mut app_in)
        .unwrap();
    assert!(client.is_transparent() && rig.server.is_transparent());
    assert!(!format!("{client:?} {options:?}").contains("dXNlcj"));
}
