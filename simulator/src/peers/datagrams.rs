//! The datagram steps of a script.
use super::actor::{Actor, Now};
use crate::host::Cx;
use core::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

/// A successful SOCKS5 reply with an IPv4 address (RFC 1928 section 6): version, reply, reserved,
/// address type, address, port.
const SOCKS5_REPLY_LEN: usize = 10;

impl Actor {
    pub(super) fn send_to_relay(&self, cx: &mut Cx<'_>, data: &[u8]) -> Now {
        match self.relay {
            Some(to) => self.send_datagram(cx, to, data),
            None => Now::Failed("no relay is known".into()),
        }
    }

    pub(super) fn expect_datagram(&mut self, data: &[u8]) -> Now {
        match self.datagrams.pop_front() {
            Some(got) if got == data => Now::Next,
            Some(got) => Now::Failed(format!("got \"{}\"", got.escape_ascii())),
            None => Now::Wait,
        }
    }

    pub(super) fn expect_no_datagram(&mut self, cx: &Cx<'_>, time: Duration) -> Now {
        match self.datagrams.pop_front() {
            Some(got) => Now::Failed(format!("got \"{}\"", got.escape_ascii())),
            None => self.sleep(cx, time),
        }
    }

    pub(super) fn bind(&mut self, cx: &mut Cx<'_>) -> Now {
        let any = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
        match cx.bind(any) {
            Ok((udp, _)) => {
                self.udp = Some(udp);
                Now::Next
            }
            Err(why) => Now::Failed(why.to_string()),
        }
    }

    pub(super) fn learn_relay(&mut self, cx: &mut Cx<'_>) -> Now {
        let reply = match self.fill(cx, SOCKS5_REPLY_LEN) {
            Ok(reply) => reply,
            Err(now) => return now,
        };
        let &[5, 0, 0, 1, a, b, c, d, high, low] = &reply[..] else {
            return Now::Failed(format!("got \"{}\"", reply.escape_ascii()));
        };
        let ip = Ipv4Addr::new(a, b, c, d);
        let port = u16::from_be_bytes([high, low]);
        self.relay = Some(SocketAddr::V4(SocketAddrV4::new(ip, port)));
        Now::Next
    }

    pub(super) fn send_datagram(&self, cx: &mut Cx<'_>, to: SocketAddr, data: &[u8]) -> Now {
        match self.udp {
            Some(udp) => {
                cx.send_to(udp, to, data);
                Now::Next
            }
            None => Now::Failed("no UDP socket".into()),
        }
    }

    /// `rounds` counts what was sent, `received` what came back.
    pub(super) fn ping(
        &mut self,
        cx: &mut Cx<'_>,
        all: &[Vec<u8>],
        every: Duration,
        least: usize,
    ) -> Now {
        while let Some(got) = self.datagrams.pop_front() {
            if !all.iter().any(|sent| got == *sent) {
                return Now::Failed(format!("got \"{}\"", got.escape_ascii()));
            }
            self.received += 1;
        }
        if self.until.is_some_and(|until| cx.now() < until) {
            return Now::Wait;
        }
        let Some(data) = all.get(self.rounds) else {
            return match self.received >= least as u64 {
                true => Now::Next,
                false => Now::Failed(format!("{} came back", self.received)),
            };
        };
        self.rounds += 1;
        self.until = Some(cx.now() + every);
        match self.send_to_relay(cx, data) {
            Now::Next => Now::Wait,
            failed @ (Now::Wait | Now::Failed(_) | Now::Ended(_) | Now::Over) => failed,
        }
    }
}
