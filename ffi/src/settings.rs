//! How a TUN device is served, in the words of the C interface and back.
use crate::{
    status::Status,
    types::{DeviceSettings, EchoKind, HandshakeKind},
};
use sansbox_engine::carrier::tun::{EchoMode, Handshake, Settings};

impl From<Settings> for DeviceSettings {
    fn from(settings: Settings) -> Self {
        let handshake = match settings.handshake_mode {
            Handshake::Fast => HandshakeKind::Fast,
            Handshake::Consistent => HandshakeKind::Consistent,
            Handshake::Auto => HandshakeKind::Auto,
        };
        let echo = match settings.icmp_echo {
            EchoMode::Off => EchoKind::Off,
            EchoMode::Reply => EchoKind::Reply,
            EchoMode::Reject => EchoKind::Reject,
            EchoMode::Relay => EchoKind::Relay,
        };
        Self {
            egress_mtu: settings.egress_mtu.into(),
            handshake_mode: handshake as u32,
            icmp_echo: echo as u32,
        }
    }
}

/// Settings that the caller names.
pub(crate) fn read_settings(settings: DeviceSettings) -> Result<Settings, Status> {
    let egress_mtu = u16::try_from(settings.egress_mtu).map_err(|_| Status::BadArgument)?;
    let handshakes = [Handshake::Fast, Handshake::Consistent, Handshake::Auto];
    let echoes = [
        EchoMode::Off,
        EchoMode::Reply,
        EchoMode::Reject,
        EchoMode::Relay,
    ];
    Ok(Settings {
        egress_mtu,
        handshake_mode: counted(handshakes, settings.handshake_mode)?,
        icmp_echo: counted(echoes, settings.icmp_echo)?,
    })
}

/// The one with this number, from 1.
fn counted<T: Copy, const N: usize>(all: [T; N], number: u32) -> Result<T, Status> {
    let mut numbered = (1..).zip(all);
    let found = numbered.find(|(of, _)| *of == number);
    found.map(|(_, one)| one).ok_or(Status::BadArgument)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_go_there_and_back() {
        for (handshake_mode, icmp_echo) in [
            (Handshake::Fast, EchoMode::Off),
            (Handshake::Consistent, EchoMode::Reply),
            (Handshake::Auto, EchoMode::Reject),
            (Handshake::Auto, EchoMode::Relay),
        ] {
            let settings = Settings {
                egress_mtu: 1280,
                handshake_mode,
                icmp_echo,
            };
            assert_eq!(read_settings(settings.into()), Ok(settings));
        }
        let good = DeviceSettings {
            egress_mtu: 1280,
            handshake_mode: HandshakeKind::Fast as u32,
            icmp_echo: EchoKind::Reply as u32,
        };
        for bad in [
            DeviceSettings {
                egress_mtu: 65_536,
                ..good
            },
            DeviceSettings {
                handshake_mode: 0,
                ..good
            },
            DeviceSettings {
                handshake_mode: 4,
                ..good
            },
            DeviceSettings {
                icmp_echo: 5,
                ..good
            },
        ] {
            assert_eq!(read_settings(bad), Err(Status::BadArgument), "{bad:?}");
        }
    }
}
