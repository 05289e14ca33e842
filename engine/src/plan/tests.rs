use super::*;
use crate::config::{ReadOptions, Sources, read};

fn config(text: &str) -> Config {
    let read = read(&Sources::single("c.json", text), &ReadOptions::default());
    read.unwrap_or_else(|errors| panic!("{errors:?}")).0
}

#[test]
fn a_tun_inbound_listens_nowhere_and_serves_whatever_is_routed_into_it() {
    let config = config(
        r#"{"inbounds": [{"type": "tun", "tag": "t", "address": "172.19.0.1/30"},
                         {"type": "socks", "listen": "::"}]}"#,
    );
    let plan = plan_inbound(&config.inbounds[0]);
    let model::InboundKind::Tun(tun) = &config.inbounds[0].kind else {
        panic!("a tun inbound");
    };
    assert_eq!(plan.tun().map(|planned| &**planned), Some(&**tun));
    let none = Networks {
        tcp: false,
        udp: false,
    };
    assert_eq!(plan.listeners(), none);
    assert_eq!((plan.reach, plan.carrier.is_none()), (Reach::All, true));
    let public = IpAddr::from([198, 51, 100, 1]);
    assert!(!plan.is_protected() && plan.serves(public));
    let socks = plan_inbound(&config.inbounds[1]);
    assert!(socks.tun().is_none() && !socks.serves(public));
}

/// `bind_interface`, `auto_detect_interface` and `routing_mark` of the one outbound.
fn options(route: &str, outbound: &str) -> (Option<String>, bool, Option<u32>) {
    let config = config(&format!(
        r#"{{"outbounds": [{{"type": "direct"{outbound}}}], "route": {{{route}}}}}"#
    ));
    let dial = dial::dial_of(&config.outbounds[0], &config.route);
    let own = &config.outbounds[0].dial;
    assert_eq!(dial.inet4_bind_address, own.inet4_bind_address);
    let Dial {
        bind_interface,
        auto_detect_interface,
        routing_mark,
        ..
    } = dial;
    (bind_interface, auto_detect_interface, routing_mark)
}

#[test]
fn what_an_outbound_says_of_its_sockets_counts_before_what_the_route_says() {
    let auto = r#""auto_detect_interface": true"#;
    let named = r#""default_interface": "eth0", "default_mark": "0x10""#;
    let both = r#""default_interface": "eth0", "auto_detect_interface": true"#;
    let bound = r#", "bind_interface": "wg0", "routing_mark": 7"#;
    let name = |name: &str| Some(name.to_owned());
    for (route, outbound, want) in [
        ("", "", (None, false, None)),
        ("", bound, (name("wg0"), false, Some(7))),
        (auto, "", (None, true, None)),
        (auto, bound, (name("wg0"), false, Some(7))),
        (
            auto,
            r#", "inet4_bind_address": "10.0.0.2""#,
            (None, false, None),
        ),
        (
            auto,
            r#", "inet6_bind_address": "fd00::2""#,
            (None, false, None),
        ),
        (named, "", (name("eth0"), false, Some(16))),
        (named, bound, (name("wg0"), false, Some(7))),
        (
            named,
            r#", "inet4_bind_address": "10.0.0.2""#,
            (None, false, Some(16)),
        ),
        (both, "", (name("eth0"), false, None)),
    ] {
        assert_eq!(options(route, outbound), want, "{route} {outbound}");
    }
}

#[test]
fn the_outbound_that_a_plan_makes_takes_the_defaults_of_the_route() {
    let config = config(r#"{"route": {"default_interface": "eth0", "default_mark": 16}}"#);
    let plan = Plan::build(&config).expect("a plan");
    let dial = &plan.outbounds()[0].dial;
    assert_eq!(dial.bind_interface.as_deref(), Some("eth0"));
    assert_eq!(dial.routing_mark, Some(16));
    assert!(!plan.detects_interface());
}
