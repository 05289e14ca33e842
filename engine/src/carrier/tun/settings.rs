//! What may be changed while a device is served.
use crate::config::model::TunExtras;
use sansbox_stack::{Handshake, icmp::EchoMode, mtu::CARRIED_LEN_MIN};

/// How the packets of a device are served, as far as it can be changed at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// MTU of the way to the Internet in bytes; from the next datagram on.
    pub egress_mtu: u16,
    /// When a SYN is answered; connections that began keep theirs.
    pub handshake_mode: Handshake,
    /// What becomes of echo requests; from the next one on.
    pub icmp_echo: EchoMode,
}

/// Settings that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSettings {
    /// The egress MTU is smaller than any path may have.
    #[error("egress_mtu: {0} is under {CARRIED_LEN_MIN} bytes")]
    EgressMtu(u16),
}

impl Settings {
    /// Whether a configuration could say the same.
    ///
    /// # Errors
    /// What it could not say.
    pub fn check(&self) -> Result<(), BadSettings> {
        if self.egress_mtu < CARRIED_LEN_MIN {
            return Err(BadSettings::EgressMtu(self.egress_mtu));
        }
        Ok(())
    }
}

impl From<TunExtras> for Settings {
    fn from(extras: TunExtras) -> Self {
        Self {
            egress_mtu: extras.egress_mtu,
            handshake_mode: extras.handshake_mode,
            icmp_echo: extras.icmp_echo,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_configuration_refuses_is_refused() {
        let good = Settings::from(TunExtras::DEFAULT);
        assert_eq!(good.check(), Ok(()));
        let small = Settings {
            egress_mtu: CARRIED_LEN_MIN - 1,
            ..good
        };
        assert_eq!(small.check(), Err(BadSettings::EgressMtu(575)));
    }
}
