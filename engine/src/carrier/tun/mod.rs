//! A TUN device as a carrier: every TCP connection and every UDP socket of its clients is a stream.
//!
//! | file | holds |
//! |---|---|
//! | `flows.rs` | TCP connections: what their streams have to do |
//! | `datagrams.rs` | UDP mappings: datagrams as records |
//! | `echo.rs` | echo requests that are carried |
//! | `frame.rs` | packets of a batch, with or without `virtio_net_hdr` |
//! | `settings.rs` | what may be changed while it is served |
mod datagrams;
mod echo;
mod flows;
mod frame;
mod settings;

pub use frame::{owner, prefix};
pub use sansbox_stack::{Handshake, icmp::EchoMode};
pub use settings::{BadSettings, Settings};

use super::{Carrier, EchoAnswer, Event, Path, Stream, StreamLimits, Transmit};
use crate::{
    config::model::{Network, RejectMethod, Tun},
    ids::InboundId,
    machine::{Undelivered, Wanted},
    plan::Plan,
    router::{Decision, Metadata},
};
use bytes::BytesMut;
use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use datagrams::Mappings;
use echo::Queries;
use flows::Flows;
use frame::Batch;
use ipnet::IpNet;
use sansbox_core::{Instant, Pipe, Progress, Refusal, Seed, Target};
use sansbox_stack::{
    Config, FlowId, Interface, InterfaceConfig, InterfaceEvent, Reject, TxBatch,
    interface::UdpError,
    mtu::{self, BadMtu},
    nat,
};
use std::{collections::VecDeque, sync::Arc};

/// What a device turned out to be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its MTU in bytes.
    pub mtu: u16,
    /// Every packet has a `virtio_net_hdr` in front: the device cuts and joins TCP segments and
    /// completes checksums.
    pub has_offload: bool,
}

/// Smallest MTU of a device in bytes, that of IPv6.
pub const MTU_MIN: u16 = mtu::TUN_MTU_MIN;

/// Longest frame of any device in bytes: a header and a packet.
pub const FRAME_LEN_MAX: usize = sansbox_stack::vnet::HEADER_LEN + 65_535;

/// Bytes for a client that the stack did not take yet.
const TO_SEND_MAX: usize = 256 * 1024;
/// Bytes for a client that it did not acknowledge yet. It is on this machine or next to it: more
/// would only wait, and fall out of the caches meanwhile.
const SEND_MAX: u32 = 512 * 1024;

/// One device, or one of its queues.
pub struct Client {
    interface: Interface,
    flows: Flows,
    mappings: Mappings,
    queries: Queries,
    batch: Batch,
    events: VecDeque<Event>,
    gate: Gate,
    handshake: Handshake,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// A device without clients. `seed` must be uniformly random.
    ///
    /// # Errors
    /// [`BadMtu`].
    pub fn new(
        plan: Arc<Plan>,
        inbound: InboundId,
        tun: &Tun,
        device: Device,
        seed: &Seed,
    ) -> Result<Self, BadMtu> {
        let interface = Interface::new(interface_config(tun, device), seed)?;
        Ok(Self {
            interface,
            flows: Flows::default(),
            mappings: Mappings::default(),
            queries: Queries::default(),
            batch: Batch::new(device.has_offload),
            events: VecDeque::new(),
            gate: Gate { plan, inbound },
            handshake: tun.sansbox.handshake_mode,
        })
    }

    /// Takes what the interface tells.
    fn follow(&mut self, now: Instant) {
        while let Some(event) = self.interface.poll_event() {
            match event {
                InterfaceEvent::Tcp(sansbox_stack::Event::Open {
                    flow,
                    source,
                    destination,
                    ..
                }) => self.offer(now, flow, source, destination),
                InterfaceEvent::Tcp(event) => self.flows.follow(event, &mut self.events),
                InterfaceEvent::Mapped(mapping, source) => {
                    self.mappings.offer(mapping, source, &mut self.events);
                }
                InterfaceEvent::Unmapped(closed) => {
                    self.mappings.end(closed.id, &mut self.events);
                }
                // Of one remote only, and datagrams are lost in silence on the way back.
                InterfaceEvent::Refused(..) => {}
                InterfaceEvent::Echo(asked) => {
                    let (interface, events) = (&mut self.interface, &mut self.events);
                    self.queries
                        .asked(now, &self.gate, interface, asked, events);
                }
                InterfaceEvent::EchoEnded(query) => self.queries.end(query, &mut self.events),
            }
        }
    }

    /// A client wants a connection. What the rules forbid is refused before there is one.
    fn offer(&mut self, now: Instant, flow: FlowId, source: SocketAddr, destination: SocketAddr) {
        let stack = self.interface.stack_mut();
        let target = Target::from(destination);
        if let Some(reject) = self.gate.refuses(source, &target) {
            stack.reject(flow, reject);
            return;
        }
        if self.handshake == Handshake::Fast {
            stack.accept(now, flow);
        }
        let stream = self.flows.begin(flow);
        let wanted = Wanted::Connection(target);
        self.events
            .push_back(Event::Request(stream, source, wanted));
    }
}

impl Carrier for Client {
    /// It has no use for the wall clock.
    fn set_wall_clock(&mut self, _: Instant, _: Duration) {}

    /// It looks nothing up.
    fn resolved(&mut self, _: Instant, _: Result<&[IpAddr], Refusal>) {}

    /// The only sockets that it has are for echo requests.
    fn bound(&mut self, _: Instant, path: Path, result: Result<(), Refusal>) {
        self.queries.bound(path, result);
    }

    fn handle_echo(&mut self, now: Instant, path: Path, answer: EchoAnswer) {
        let interface = &mut self.interface;
        self.queries.answered(now, interface, path, answer);
        self.follow(now);
    }

    fn datagram_error(&mut self, now: Instant, stream: Stream, to: SocketAddr, error: Undelivered) {
        if let Some(mapping) = self.mappings.of(stream) {
            let error = UdpError {
                remote: to,
                kind: error.cause.into(),
                reporter: error.reporter,
            };
            // What the limits of errors forbid is counted.
            let _ = self.interface.udp_error(now, mapping, &error);
        }
    }

    fn handle_datagram(&mut self, _: Instant, _: Path, _: SocketAddr, _: BytesMut) -> bool {
        false
    }

    fn poll_transmit(&mut self, _: Instant, _: usize, _: &mut BytesMut) -> Option<Transmit> {
        None
    }

    fn handle_packets(&mut self, now: Instant, frames: &mut Vec<BytesMut>) {
        self.settle();
        self.batch.fill(frames);
        let (mappings, events) = (&mut self.mappings, &mut self.events);
        self.batch.with_packets(|packets| {
            self.interface.recv_batch(now, packets, &mut |datagram| {
                mappings.received(datagram, events);
            });
        });
        self.follow(now);
    }

    fn poll_packets(&mut self, now: Instant, out: &mut TxBatch) -> bool {
        self.settle();
        self.interface.poll_transmit(now, out)
    }

    fn set_device(&mut self, _: Instant, settings: &Settings) {
        // One that cannot be leaves the old one.
        let _checked = self.interface.set_egress_mtu(settings.egress_mtu);
        self.interface.set_echo(settings.icmp_echo);
        self.handshake = settings.handshake_mode;
    }

    fn take_lost(&mut self) -> u64 {
        self.mappings.take_overflowed()
    }

    fn interface(&self) -> Option<&Interface> {
        Some(&self.interface)
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_timeout(&self, _: Instant) -> Option<Instant> {
        self.interface.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.interface.handle_timeout(now);
        self.follow(now);
    }

    fn stream_limits(&self) -> StreamLimits {
        StreamLimits {
            // The window bounds it. Whatever the session takes is to be told, so that the client
            // may send more.
            received: 1,
            to_send: TO_SEND_MAX,
        }
    }

    /// Nobody dials into a device; nobody asks for it.
    fn open(&mut self, _: Instant, _: Wanted) -> Stream {
        let never = Stream(u64::MAX);
        let refused = Event::Refused(never, Refusal::CommandUnsupported);
        self.events.push_back(refused);
        never
    }

    fn answer(&mut self, now: Instant, stream: Stream, answer: Result<SocketAddr, Refusal>) {
        if datagrams::is(stream) {
            if let Some(mapping) = self.mappings.answer(stream, answer.is_ok()) {
                self.interface.unmap(mapping);
            }
        } else {
            let stack = self.interface.stack_mut();
            self.flows.answer(now, stack, stream, answer.map(drop));
        }
        self.events.push_back(Event::Ready(stream));
        self.follow(now);
    }

    fn exchange(
        &mut self,
        now: Instant,
        stream: Stream,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) -> Progress {
        let progress = if datagrams::is(stream) {
            let interface = &mut self.interface;
            self.mappings
                .exchange(now, interface, stream, received, to_send)
        } else {
            let (stack, batch) = (self.interface.stack_mut(), &mut self.batch);
            self.flows
                .exchange(now, stack, batch, stream, received, to_send)
        };
        self.follow(now);
        progress
    }

    fn is_open(&self, stream: Stream) -> bool {
        if datagrams::is(stream) {
            self.mappings.is_open(stream)
        } else {
            self.flows.is_open(stream)
        }
    }

    fn abandon(&mut self, now: Instant, stream: Stream) {
        if datagrams::is(stream) {
            if let Some(mapping) = self.mappings.remove(stream) {
                self.interface.unmap(mapping);
            }
        } else {
            self.flows.abandon(self.interface.stack_mut(), stream);
        }
        self.follow(now);
    }

    fn close(&mut self, now: Instant) {
        self.flows.abandon_all(self.interface.stack_mut());
        self.follow(now);
    }
}

impl Client {
    /// The packets of the last batch go: what nobody took of them is copied.
    fn settle(&mut self) {
        let interface = &mut self.interface;
        self.batch.with_packets(|packets| interface.retain(packets));
        self.batch.clear();
    }
}

/// What the rules say before a connection exists.
struct Gate {
    plan: Arc<Plan>,
    inbound: InboundId,
}

impl Gate {
    fn refuses(&self, source: SocketAddr, target: &Target) -> Option<Reject> {
        match self.decide(Network::Tcp, source, target) {
            Decision::Route(_) => None,
            Decision::Reject { method, .. } => Some(match method {
                RejectMethod::Default => Reject::PolicyReset,
                RejectMethod::Drop => Reject::Silent,
            }),
        }
    }

    fn decide(&self, network: Network, source: SocketAddr, target: &Target) -> Decision {
        let verdict = self.plan.route(&Metadata {
            inbound: self.inbound,
            network,
            source,
            target,
            user: None,
        });
        verdict.decision
    }
}

/// What the stack says for itself comes from: the next address in the network of the device, whose
/// own address is mostly that of the client itself, who takes nothing from there.
fn far_end(network: &IpNet) -> IpAddr {
    let own = network.addr();
    let near: [Option<IpAddr>; 2] = match own {
        IpAddr::V4(ip) => {
            let bits = ip.to_bits();
            [bits.checked_add(1), bits.checked_sub(1)]
                .map(|near| near.map(|near| Ipv4Addr::from_bits(near).into()))
        }
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            [bits.checked_add(1), bits.checked_sub(1)]
                .map(|near| near.map(|near| Ipv6Addr::from_bits(near).into()))
        }
    };
    // A network of two addresses has no other ones.
    let is_pair = network.max_prefix_len() - network.prefix_len() <= 1;
    let is_host = |ip: &IpAddr| {
        let is_edge = *ip == network.network() || *ip == network.broadcast();
        network.contains(ip) && (is_pair || !is_edge)
    };
    near.into_iter().flatten().find(is_host).unwrap_or(own)
}

/// What the stack is made with for a device.
fn interface_config(tun: &Tun, device: Device) -> InterfaceConfig {
    let addresses = || tun.address.iter().map(far_end);
    let defaults = InterfaceConfig::default();
    InterfaceConfig {
        stack: Config {
            tun_mtu: device.mtu,
            // Asked for every connection, so that rules come first.
            handshake: Handshake::Auto,
            segmentation_max: if device.has_offload { u16::MAX } else { 0 },
            checksum_offload: device.has_offload,
            send_max: SEND_MAX,
            ..Config::default()
        },
        nat: nat::Config {
            filtering: tun.sansbox.udp_filtering,
            udp_timeout: tun.udp_timeout,
            ..nat::Config::default()
        },
        echo: tun.sansbox.icmp_echo,
        gateway_v4: addresses()
            .find_map(|address| match address {
                IpAddr::V4(v4) => Some(v4),
                IpAddr::V6(_) => None,
            })
            .unwrap_or(defaults.gateway_v4),
        gateway_v6: addresses().find_map(|address| match address {
            IpAddr::V6(v6) => Some(v6),
            IpAddr::V4(_) => None,
        }),
        egress_mtu: tun.sansbox.egress_mtu,
        // A sender that finds out the way's MTU is told it; for the others the kernel's socket cuts.
        carrier: mtu::Carrier::Packets,
        ..defaults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_far_end_is_another_host_of_the_network() {
        for (network, far) in [
            ("10.11.12.1/30", "10.11.12.2"),
            ("10.11.12.2/30", "10.11.12.1"),
            ("10.0.0.254/24", "10.0.0.253"),
            ("10.0.0.6/31", "10.0.0.7"),
            ("10.0.0.7/31", "10.0.0.6"),
            ("10.0.0.7/32", "10.0.0.7"),
            ("255.255.255.255/32", "255.255.255.255"),
            ("fd00::1/126", "fd00::2"),
            ("fd00::/127", "fd00::1"),
            ("fd00::7/128", "fd00::7"),
        ] {
            let found = far_end(&network.parse().expect("a network"));
            assert_eq!(found.to_string(), far, "{network}");
        }
    }
}
