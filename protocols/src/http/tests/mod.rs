//! Tests of whole connections.

mod auth;
mod client;
mod exchanges;
mod properties;
mod requests;
mod responses;
mod timers;
mod tunnels;

use super::*;
use bytes::BytesMut;
use core::time::Duration;
use sansbox_core::{Instant, Pipe, Progress, StreamProtocol};

/// Handshake timeout of every rig.
const TIMEOUT: Duration = Duration::from_secs(10);

fn after(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

/// A server between four pipes, with all that came out of it.
struct Rig {
    server: Server,
    now: Instant,
    from_client: Pipe,
    to_client: Pipe,
    to_upstream: Pipe,
    from_upstream: Pipe,
    error: Option<Error>,
}

impl Rig {
    fn new(auth: Auth) -> Self {
        let pipe = || Pipe::new(HEAD_LEN_MAX);
        Self {
            server: Server::new(Instant::ZERO, auth, TIMEOUT),
            now: Instant::ZERO,
            from_client: pipe(),
            to_client: pipe(),
            to_upstream: pipe(),
            from_upstream: pipe(),
            error: None,
        }
    }

    /// A rig whose client sent `request`, which was accepted and passed on.
    fn accepted(request: &str) -> Self {
        let mut rig = Self::new(Auth::None);
        rig.client(request);
        assert!(matches!(rig.event(), Some(ServerEvent::Request { .. })));
        rig.accept();
        rig
    }

    /// Calls the machine until nothing moves; an error ends input, not output.
    fn run(&mut self) {
        loop {
            let mut progress = Progress::NONE;
            if self.error.is_none() {
                let server = &mut self.server;
                match server.handle_input(self.now, &mut self.from_client, &mut self.to_upstream) {
                    Ok(p) => progress |= p,
                    Err(error) => self.error = Some(error),
                }
            }
            let server = &mut self.server;
            match server.poll_transmit(self.now, &mut self.from_upstream, &mut self.to_client) {
                Ok(p) => progress |= p,
                Err(error) => {
                    assert_eq!(self.error.replace(error), None);
                    progress = Progress::MADE;
                }
            }
            if progress == Progress::NONE {
                return;
            }
        }
    }

    fn client(&mut self, bytes: &str) {
        self.from_client.push(BytesMut::from(bytes));
        self.run();
    }

    fn client_fin(&mut self) {
        let _ = self.from_client.finish();
        self.run();
    }

    fn upstream(&mut self, bytes: &str) {
        self.from_upstream.push(BytesMut::from(bytes));
        self.run();
    }

    fn upstream_fin(&mut self) {
        let _ = self.from_upstream.finish();
        self.run();
    }

    fn accept(&mut self) {
        self.server.accept();
        self.run();
    }

    fn fresh_upstream(&mut self) {
        self.to_upstream = Pipe::new(HEAD_LEN_MAX);
        self.from_upstream = Pipe::new(HEAD_LEN_MAX);
    }

    fn at(&mut self, seconds: u64) -> Result<Progress, Error> {
        self.now = after(seconds);
        let result = self.server.handle_timeout(self.now);
        self.run();
        result
    }

    fn event(&mut self) -> Option<ServerEvent> {
        self.server.poll_event()
    }

    /// What the client was sent since the last call.
    fn at_client(&mut self) -> String {
        drain(&mut self.to_client)
    }

    /// What the upstream was sent since the last call.
    fn at_upstream(&mut self) -> String {
        drain(&mut self.to_upstream)
    }

    /// The status of the one response that the client was sent, and its body.
    fn reply(&mut self) -> (u16, String) {
        let text = self.at_client();
        let (head, len) = Response::parse(text.as_bytes()).unwrap().unwrap();
        (head.status, text[len..].to_owned())
    }
}

use wire::Response;

fn drain(pipe: &mut Pipe) -> String {
    let mut bytes = Vec::new();
    while let Some(segment) = pipe.take(usize::MAX) {
        bytes.extend_from_slice(&segment);
    }
    String::from_utf8(bytes).unwrap()
}

fn request_for(target: &str, connect: bool) -> Option<ServerEvent> {
    let (host, port) = target.rsplit_once(':').unwrap();
    Some(ServerEvent::Request {
        target: sansbox_core::Target::new(
            sansbox_core::Host::parse(host.as_bytes()).unwrap(),
            port.parse().unwrap(),
        ),
        connect,
    })
}

const DONE: Option<ServerEvent> = Some(ServerEvent::UpstreamDone { reusable: true });
const DEAD: Option<ServerEvent> = Some(ServerEvent::UpstreamDone { reusable: false });
const GET: &str = "GET http://a.b/ HTTP/1.1\r\nHost: a.b\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
