//! QUIC through a relay that damages, cuts and invents datagrams.
use super::scenarios;
use crate::{
    check::Invariant,
    host::{Cx, Host, HostInput, UdpId},
    quic::{Hooks, Identity, Plan, QuicHost, Request},
    rng::StreamId,
};
use bytes::BytesMut;
use core::{cell::Cell, net::SocketAddr, time::Duration};
use sansbox_core::Instant;
use std::{collections::BTreeMap, rc::Rc};

/// One datagram in so many is damaged, one is cut, and behind one comes noise.
const ONE_IN: u64 = 20;
/// Longest invented datagram in bytes.
const NOISE_LEN_MAX: usize = 1_400;
/// Damage comes to an end, so that everything else does.
const UNTIL: Instant = Instant::from_nanos(20_000_000_000);

/// Sends everything from a client on to the server and back, not always unharmed.
struct Relay {
    local: SocketAddr,
    server: SocketAddr,
    front: Option<UdpId>,
    /// A socket towards the server for each client, and the client of each.
    backs: BTreeMap<SocketAddr, UdpId>,
    clients: BTreeMap<UdpId, SocketAddr>,
    stream: Option<StreamId>,
    /// Datagrams harmed, cut or invented.
    harmed: Rc<Cell<u64>>,
}

impl Relay {
    fn new(local: SocketAddr, server: SocketAddr) -> Self {
        Self {
            local,
            server,
            front: None,
            backs: BTreeMap::new(),
            clients: BTreeMap::new(),
            stream: None,
            harmed: Rc::default(),
        }
    }

    fn pass(&self, cx: &mut Cx<'_>, socket: UdpId, to: SocketAddr, mut data: BytesMut) {
        let stream = self.stream.filter(|_| cx.now() < UNTIL);
        let Some(stream) = stream else {
            return cx.send_to(socket, to, &data);
        };
        let len = data.len() as u64;
        let choice = cx.streams().below(stream, ONE_IN);
        self.harmed.set(self.harmed.get() + u64::from(choice < 3));
        match choice {
            0 => {
                let at = cx.streams().below(stream, len) as usize;
                let bit = cx.streams().below(stream, 8);
                if let Some(byte) = data.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            1 => data.truncate(cx.streams().below(stream, len) as usize),
            2 => {
                let len = cx.streams().len_up_to(stream, NOISE_LEN_MAX);
                let noise = |_| cx.streams().below(stream, 256) as u8;
                let noise: Vec<u8> = (0..len).map(noise).collect();
                cx.send_to(socket, to, &noise);
            }
            _ => {}
        }
        cx.send_to(socket, to, &data);
    }

    fn back(&mut self, cx: &mut Cx<'_>, client: SocketAddr) -> Option<UdpId> {
        if let Some(socket) = self.backs.get(&client) {
            return Some(*socket);
        }
        // A port of its own, which no limit on sockets counts: the relay outlives its clients.
        let port = 20_000 + u16::try_from(self.backs.len()).ok()?;
        let local = SocketAddr::new(self.local.ip(), port);
        let (socket, _) = cx.bind(local).ok()?;
        self.backs.insert(client, socket);
        self.clients.insert(socket, client);
        Some(socket)
    }
}

impl Host for Relay {
    fn handle(&mut self, cx: &mut Cx<'_>, input: HostInput) {
        match input {
            HostInput::Start => {
                self.stream = Some(cx.stream("damage"));
                match cx.bind(self.local) {
                    Ok((socket, _)) => self.front = Some(socket),
                    Err(why) => cx.violate(Invariant::ScriptHolds, format!("bind: {why}")),
                }
            }
            HostInput::Datagram { socket, from, data } if Some(socket) == self.front => {
                if let Some(back) = self.back(cx, from) {
                    self.pass(cx, back, self.server, data);
                }
            }
            HostInput::Datagram { socket, data, .. } => {
                if let (Some(client), Some(front)) = (self.clients.get(&socket), self.front) {
                    self.pass(cx, front, *client, data);
                }
            }
            HostInput::Timer
            | HostInput::Packet(_)
            | HostInput::Icmp { .. }
            | HostInput::Command(_)
            | HostInput::Accepted { .. }
            | HostInput::Dialed(..)
            | HostInput::Readable(_)
            | HostInput::Writable(_)
            | HostInput::Resolved(..) => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn waiting(&self) -> Option<String> {
        None
    }
}

scenarios! {
    /// Flipped bits, cut datagrams and noise delay a transfer, and change none of its bytes.
    fn quic_damaged_datagrams(world) {
        let relay = SocketAddr::from(([10, 0, 0, 3], 443));
        let address = SocketAddr::from(([10, 0, 0, 2], 443));
        let identity = Identity::new(world.seed(), Hooks::default());
        let mut client = QuicHost::client(&identity, Hooks::default());
        for nth in 0..4_u32 {
            let request = Request::new(format!("damaged-{nth}"), 60_000, 60_000);
            let after = Duration::from_millis(300) * nth;
            client = client.connect(Plan::new(relay, [request]).after(after));
        }
        let server = QuicHost::server(&identity, address, Hooks::default());
        let watch = client.watch();
        world.host("server", &[address.ip()], server);
        let damage = Relay::new(relay, address);
        let harmed = Rc::clone(&damage.harmed);
        world.host("relay", &[relay.ip()], damage);
        world.host("client", &[[10, 0, 0, 1].into()], client);
        world.run(Duration::from_secs(180))?;
        let seen = watch.facts();
        let holds = seen.connected == 4 && harmed.get() >= 10;
        world.expect(holds, format!("{seen:?}, {} harmed", harmed.get()))
    }
}
