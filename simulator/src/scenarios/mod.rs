//! All scenarios. One file holds one behaviour or a group of like ones; [`lab`] holds the hosts
//! that most of them share.
mod auth;
mod carried;
mod censor;
mod connect;
mod daemon;
mod dial;
mod direct;
mod firewall;
mod flood;
mod forward;
mod half_close;
mod lab;
mod names;
mod nat;
mod pace;
mod packet_tier;
mod paniq;
mod planted;
mod prober;
mod quic;
mod quic_damage;
mod reset;
mod route;
mod stop;
mod tls;
mod tun;
mod udp;
mod upstream;
mod vanish;

use crate::scenario::Scenario;

/// Registers functions as scenarios, with their documentation as the description, and makes a
/// test of each. `#[sometimes("mark", ..)]` names what must happen in some run of a sweep.
macro_rules! scenarios {
    ($(
        $(#[doc = $about:literal])+
        $(#[sometimes($($mark:literal),+)])?
        fn $name:ident($world:ident) $body:block
    )+) => {
        pub(in crate::scenarios) const ALL: &[$crate::scenario::Scenario] = &[$(
            $crate::scenario::Scenario {
                name: stringify!($name),
                about: concat!($($about),+),
                marks: &[$($($mark),+)?],
                body: $name,
            }
        ),+];

        $(
            $(#[doc = $about])+
            fn $name($world: &mut $crate::World) -> $crate::scenario::Verdict $body
        )+

        #[cfg(test)]
        mod tests {
            $(
                #[test]
                fn $name() {
                    $crate::scenario::check(stringify!($name));
                }
            )+
        }
    };
}
use scenarios;

/// Known by name, but no scenarios of the product.
pub(crate) const HIDDEN: &[&[Scenario]] = &[planted::ALL];

pub(crate) const GROUPS: &[&[Scenario]] = &[
    connect::ALL,
    dial::ALL,
    names::ALL,
    half_close::ALL,
    reset::ALL,
    vanish::ALL,
    pace::ALL,
    flood::ALL,
    auth::ALL,
    forward::ALL,
    upstream::ALL,
    route::ALL,
    udp::ALL,
    direct::ALL,
    stop::ALL,
    quic::ALL,
    quic_damage::ALL,
    tls::ALL,
    nat::ALL,
    firewall::ALL,
    censor::ALL,
    prober::ALL,
    packet_tier::ALL,
    daemon::ALL,
    carried::ALL,
    paniq::ALL,
    tun::relay::ALL,
    tun::ends::ALL,
    tun::errors::ALL,
    tun::datagrams::ALL,
    tun::junk::ALL,
];
