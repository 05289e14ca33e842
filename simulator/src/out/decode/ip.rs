//! IP packets in a few words.
use core::net::{IpAddr, SocketAddr};
use etherparse::{LaxNetSlice, LaxSlicedPacket, TcpSlice, TransportSlice};

/// What an IP packet says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Whence, with port 0 where there is none.
    pub source: SocketAddr,
    /// Where to, likewise.
    pub destination: SocketAddr,
    /// Its protocol, with what matters most: control bits, numbers and length.
    pub text: String,
}

impl Packet {
    /// Reads a packet, without a header in front; `None` when it is not IP.
    #[must_use]
    pub fn read(packet: &[u8]) -> Option<Self> {
        let sliced = LaxSlicedPacket::from_ip(packet).ok()?;
        let (source, destination) = ends(sliced.net.as_ref()?)?;
        let (ports, text) = match &sliced.transport {
            Some(TransportSlice::Tcp(tcp)) => {
                let ports = (tcp.source_port(), tcp.destination_port());
                (ports, segment(tcp))
            }
            Some(TransportSlice::Udp(udp)) => {
                let ports = (udp.source_port(), udp.destination_port());
                (ports, format!("UDP len {}", udp.payload().len()))
            }
            Some(TransportSlice::Icmpv4(icmp)) => ((0, 0), format!("ICMP {:?}", icmp.icmp_type())),
            Some(TransportSlice::Icmpv6(icmp)) => {
                ((0, 0), format!("ICMPv6 {:?}", icmp.icmp_type()))
            }
            Some(TransportSlice::Igmp(_)) | None => ((0, 0), rest(&sliced)),
        };
        Some(Self {
            source: SocketAddr::new(source, ports.0),
            destination: SocketAddr::new(destination, ports.1),
            text,
        })
    }
}

fn ends(net: &LaxNetSlice<'_>) -> Option<(IpAddr, IpAddr)> {
    match net {
        LaxNetSlice::Ipv4(ip) => {
            let header = ip.header();
            let (from, to) = (header.source_addr(), header.destination_addr());
            Some((from.into(), to.into()))
        }
        LaxNetSlice::Ipv6(ip) => {
            let header = ip.header();
            let (from, to) = (header.source_addr(), header.destination_addr());
            Some((from.into(), to.into()))
        }
        LaxNetSlice::Arp(_) => None,
    }
}

fn segment(tcp: &TcpSlice<'_>) -> String {
    let bits = [
        (tcp.syn(), "SYN "),
        (tcp.fin(), "FIN "),
        (tcp.rst(), "RST "),
        (tcp.psh(), "PSH "),
        (tcp.urg(), "URG "),
        (tcp.ack(), "ACK "),
    ];
    let set = bits.iter().filter(|(is_set, _)| *is_set);
    let names: String = set.map(|(_, name)| *name).collect();
    let (seq, ack) = (tcp.sequence_number(), tcp.acknowledgment_number());
    let (window, len) = (tcp.window_size(), tcp.payload().len());
    format!("TCP {names}seq {seq} ack {ack} win {window} len {len}")
}

/// A packet whose transport is not shown: a fragment, another protocol, or one that is cut off.
fn rest(sliced: &LaxSlicedPacket<'_>) -> String {
    let payload = sliced.net.as_ref().and_then(LaxNetSlice::ip_payload_ref);
    payload.map_or_else(
        || "IP".to_owned(),
        |payload| {
            let what = if payload.fragmented {
                "fragment of "
            } else {
                ""
            };
            let (number, len) = (payload.ip_number.0, payload.payload.len());
            format!("IP {what}protocol {number} len {len}")
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    #[test]
    fn packets_say_what_they_are() {
        let v4 = || PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
        let text = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut packet = Vec::new();
            write(&mut packet);
            let read = Packet::read(&packet).expect("IP");
            format!("{} > {} {}", read.source, read.destination, read.text)
        };
        let syn = text(&|out| {
            v4().tcp(5, 80, 7, 9)
                .syn()
                .write_to_vec(out, b"")
                .expect("fits")
        });
        let told = "10.0.0.1:5 > 10.0.0.2:80 TCP SYN seq 7 ack 0 win 9 len 0";
        assert_eq!(syn, told);
        let data = text(&|out| {
            let step = v4().tcp(80, 5, 1, 9).ack(8).psh();
            step.write_to_vec(out, b"abc").expect("fits");
        });
        assert_eq!(
            data,
            "10.0.0.1:80 > 10.0.0.2:5 TCP PSH ACK seq 1 ack 8 win 9 len 3"
        );
        let v6 = || PacketBuilder::ipv6([1; 16], [2; 16], 64);
        let udp = text(&|out| v6().udp(1, 53).write_to_vec(out, b"ab").expect("fits"));
        assert!(udp.ends_with(":53 UDP len 2"), "{udp}");
        let echo = text(&|out| {
            let step = v4().icmpv4_echo_request(3, 4);
            step.write_to_vec(out, b"ab").expect("fits");
        });
        assert!(echo.contains("ICMP EchoRequest"), "{echo}");
    }

    #[test]
    fn what_is_no_packet_is_none() {
        for packet in [&b""[..], b"\x00", b"\x45\x00"] {
            assert_eq!(Packet::read(packet), None);
        }
        let mut cut = Vec::new();
        let whole = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
        let written = whole.tcp(5, 80, 7, 9).write_to_vec(&mut cut, b"");
        written.expect("fits");
        cut.truncate(30);
        let read = Packet::read(&cut).expect("its addresses are there");
        assert_eq!(read.text, "IP protocol 6 len 10");
    }
}
