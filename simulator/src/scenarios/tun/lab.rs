//! A machine, its TUN device, and the daemon behind it.
use super::super::lab::*;
use crate::{
    World,
    check::Violation,
    daemon::TunSettings,
    host::HostId,
    net::{SiteId, hop::Hop, link::Link},
    peers::{Script, ScriptHost},
    scenario::Verdict,
    tcp::Tier,
};
use core::{net::SocketAddr, time::Duration};
use sansbox_engine::record::CloseReason;

/// The machine's addresses: those of its device.
pub(super) const MACHINE: [&str; 2] = ["10.11.12.1", "fd11::1"];
/// Everything goes out directly.
pub(super) const DIRECT: &str = r#"[{"type": "direct", "tag": "direct"}]"#;
/// Everything goes to a SOCKS server.
pub(super) const BY_SOCKS: &str =
    r#"[{"type": "socks", "tag": "up", "server": "10.0.0.4", "server_port": 1080}]"#;

/// How a device and its daemon are set up.
pub(super) struct Setting {
    pub(super) handshake: &'static str,
    /// Further members of `sansbox`, each with a comma in front.
    pub(super) extras: &'static str,
    /// Further members of the inbound, likewise.
    pub(super) members: &'static str,
    pub(super) outbounds: String,
    pub(super) route: &'static str,
    pub(super) tun: TunSettings,
    /// The way between the machine and its device, in words.
    pub(super) link: &'static str,
    /// What stands between the daemon and the world.
    pub(super) outside: fn() -> Vec<Box<dyn Hop>>,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            handshake: "fast",
            extras: "",
            members: "",
            outbounds: DIRECT.into(),
            route: "{}",
            tun: TunSettings::new(),
            link: "",
            outside: Vec::new,
        }
    }
}

/// Without `virtio_net_hdr`.
pub(super) const fn plain_device() -> TunSettings {
    TunSettings {
        offload: false,
        ..TunSettings::new()
    }
}

/// A machine's site and the daemon that is its way out.
pub(super) struct Tun {
    pub(super) site: SiteId,
    pub(super) daemon: HostId,
}

impl Setting {
    /// Makes the site of the machine, and the daemon.
    pub(super) fn build(&self, world: &mut World) -> Result<Tun, Violation> {
        let inbounds = format!(
            r#"[{{"type": "tun", "tag": "tun", "address": ["10.11.12.1/24", "fd11::1/64"],
                "sansbox": {{"handshake_mode": "{}"{}}}{}}}]"#,
            self.handshake, self.extras, self.members
        );
        let json = config(&inbounds, &self.outbounds, self.route);
        let hops: Vec<Box<dyn Hop>> = match self.link {
            "" => Vec::new(),
            link => vec![Box::new(
                link.parse::<Link>()
                    .expect("links of scenarios are constants"),
            )],
        };
        let site = world.site("device", hops);
        let outside = world.site("proxy", (self.outside)());
        let at = ["10.0.0.2", "fd00::2"];
        let daemon = daemon_with(world, outside, ("proxy", &at), &json, self.tun)?;
        world.gateway(site, daemon);
        Ok(Tun { site, daemon })
    }
}

impl Tun {
    /// Adds the machine, whose TCP is smoltcp's.
    pub(super) fn machine(&self, world: &mut World, host: ScriptHost) -> HostId {
        let machine = world.host_in(self.site, "machine", &ips(&MACHINE), host);
        world.host_tier(machine, Tier::Packet);
        machine
    }
}

/// Programs that dial at once.
pub(super) fn programs<'a>(dials: impl IntoIterator<Item = (&'a str, Script)>) -> ScriptHost {
    let dial = |host: ScriptHost, (to, script)| host.dial(addr(to), script);
    dials.into_iter().fold(ScriptHost::new(), dial)
}

/// The n-th conversation, with flows of its own: `len` bytes each way, then FIN first.
pub(super) fn talk_of(n: u64, len: u64) -> Script {
    let (up, down) = (format!("up {n}"), format!("down {n}"));
    let talk = Script::new().exchange(&up, &down, len);
    talk.fin(&up).expect_fin(&down)
}

/// The target's part of it.
pub(super) fn answer_of(n: u64, len: u64) -> Script {
    let (up, down) = (format!("up {n}"), format!("down {n}"));
    let talk = Script::new().exchange(&down, &up, len);
    talk.expect_fin(&up).fin(&down)
}

/// A target of its own for each conversation.
pub(super) fn target(n: u64) -> SocketAddr {
    let port = 8000 + u16::try_from(n).unwrap_or(u16::MAX);
    SocketAddr::from(([10, 0, 0, 3], port))
}

/// Runs to the end; the reasons are in any order.
pub(super) fn run_to(world: &mut World, expected: &[CloseReason]) -> Verdict {
    world.run(LIMIT)?;
    let own = world.closed().iter().filter(|c| c.host == "proxy");
    let mut got: Vec<CloseReason> = own.filter_map(|c| c.reason).collect();
    let mut expected = expected.to_vec();
    got.sort();
    expected.sort();
    let what = format!("sessions ended with {got:?}, not {expected:?}");
    world.expect(got == expected, what)
}

/// A mark was hit at least once.
pub(super) fn has_mark(world: &World, mark: &str) -> Verdict {
    let all: Vec<&str> = world.marks().iter().map(|(name, _)| name).collect();
    let has = all.contains(&mark);
    world.expect(has, format!("{mark:?} is not in {all:?}"))
}

pub(super) const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}
