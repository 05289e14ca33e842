//! Plain scenarios once more, on the engine's own loop: what holds where every step is checked must
//! hold where a runtime's loop does the steps.
use crate::{World, scenario, scenario::Scenario, scenario::Verdict};

fn on_daemon(world: &mut World, name: &str) -> Verdict {
    world.daemon = true;
    let scenario = scenario::find(name).expect("twins are of scenarios that there are");
    (scenario.body)(world)
}

macro_rules! twins {
    ($($name:ident $of:literal)+) => {
        pub(super) const ALL: &[Scenario] = &[$(
            Scenario {
                name: stringify!($name),
                about: concat!("As `", $of, "`, on the engine's own loop."),
                marks: &[],
                body: $name,
            }
        ),+];

        $(
            fn $name(world: &mut World) -> Verdict {
                on_daemon(world, $of)
            }
        )+

        #[cfg(test)]
        mod tests {
            $(
                #[test]
                fn $name() {
                    crate::scenario::check(stringify!($name));
                }
            )+
        }
    };
}

twins! {
    daemon_socks5_connects "socks5_connects"
    daemon_http_connect_relays "http_connect_relays"
    daemon_direct_stream "direct_stream"
    daemon_direct_datagrams "direct_datagrams"
    daemon_udp_association "udp_association_with_loss"
    daemon_upstream_relays "upstream_socks_relays"
    daemon_detour_chain "detour_chain"
    daemon_half_close "half_close_by_client"
    daemon_slow_reader "slow_reader_of_a_tunnel"
    daemon_vanish_socks5 "vanish_socks5"
    daemon_dead_first_address "happy_eyeballs_dead_first_address"
    daemon_stop "stop_ends_everything"
}
