//! Protected mode: an inbound without users beyond loopback does not serve the internet.
use sansbox_tests::{
    namespace::Namespace,
    origin::http::HttpServer,
    ports::free_port,
    process::Signal,
    proxy::{Proxy, direct},
    socks,
    wire::{SILENCE, read_all, read_exact},
};
use serde_json::{Value, json};
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

/// The sansbox-only key that opens such an inbound to everyone.
const KEY: &str = "sansbox_allow_public";

fn config(kind: &str, listen: &str, users: &Value, public: bool) -> Value {
    let mut inbound = json!({
        "type": kind,
        "tag": "in",
        "listen": listen,
        "listen_port": free_port(),
    });
    if !users.is_null() {
        inbound["users"] = users.clone();
    }
    if public {
        inbound[KEY] = json!(true);
    }
    json!({
        "log": { "level": "info" },
        "inbounds": [inbound],
        "outbounds": [direct()],
    })
}

fn warnings(log: &str) -> String {
    log.lines()
        .filter(|line| line.contains("WARN"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn an_open_inbound_beyond_loopback_warns_and_serves_loopback() {
    let origin = HttpServer::start();
    for listen in ["0.0.0.0", "::"] {
        let proxy = Proxy::start(&config("mixed", listen, &Value::Null, false));
        let code = socks::open(proxy.addr(), None, origin.addr()).err();
        assert_eq!(code, None, "loopback is served on {listen}");
        let (_, log) = proxy.stop(Signal::Term);
        let warnings = warnings(&log);
        assert!(warnings.contains("[in]"), "names the inbound:\n{log}");
        assert!(warnings.contains(KEY), "names the way out:\n{log}");
    }
}

#[test]
fn nothing_is_warned_of_when_the_inbound_is_safe_or_was_meant() {
    let users = json!([{ "username": "u", "password": "p" }]);
    for config in [
        config("mixed", "127.0.0.1", &Value::Null, false),
        config("mixed", "0.0.0.0", &users, false),
        config("mixed", "0.0.0.0", &Value::Null, true),
    ] {
        let (_, log) = Proxy::start(&config).stop(Signal::Term);
        assert_eq!(warnings(&log), "", "{config}");
    }
}

/// What a client without a password meets.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// The server's page.
    Served,
    /// The end of the connection, without a byte.
    Refused,
}

/// Two machines on one wire: the proxy's, with a server on its loopback, and a client's.
struct Network {
    proxy: Namespace,
    client: Namespace,
    origin: HttpServer,
}

impl Network {
    fn new(proxy_address: &str, client_address: &str) -> Option<Self> {
        let proxy = Namespace::new()?;
        let client = Namespace::new()?;
        proxy.join(proxy_address, &client, client_address);
        let listener = proxy.enter(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        Some(Self {
            origin: HttpServer::serve(listener.expect("bind in the namespace")),
            proxy,
            client,
        })
    }

    /// Asks the proxy for the server, from the client's machine and without a password.
    fn ask(&self, proxy: SocketAddr) -> Answer {
        let mut request = vec![5, 1, 0, 5, 1, 0];
        request.extend(socks::Destination::from(self.origin.addr()).encode());
        self.client.enter(|| {
            // A reset can arrive before the call that connects has returned.
            let mut stream = match TcpStream::connect_timeout(&proxy, SILENCE) {
                Ok(stream) => stream,
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return Answer::Refused,
                Err(e) => panic!("connect to {proxy}: {e}"),
            };
            stream
                .set_read_timeout(Some(SILENCE))
                .expect("a timeout can be set");
            let _ = stream.write_all(&request);
            let mut first = [0];
            match stream.read(&mut first) {
                Ok(1) => {}
                Ok(_) => return Answer::Refused,
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return Answer::Refused,
                Err(e) => panic!("neither served nor refused: {e}"),
            }
            let _ = read_exact(&mut stream, 11, "the rest of the method and the reply");
            let request = b"GET /bytes/3 HTTP/1.1\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(request);
            let text = read_all(&mut stream, SILENCE).text();
            assert!(text.contains("200 OK"), "{text}");
            Answer::Served
        })
    }

    fn start(&self, config: &Value) -> Proxy {
        Proxy::start_in(config, Some(self.proxy.name()))
    }
}

#[test]
fn a_public_source_is_refused_unless_the_inbound_says_otherwise() {
    let Some(network) = Network::new("198.51.100.1/24", "198.51.100.2/24") else {
        return;
    };
    let here: IpAddr = [198, 51, 100, 1].into();
    for kind in ["socks", "mixed"] {
        let closed = network.start(&config(kind, "0.0.0.0", &Value::Null, false));
        let answer = network.ask((here, closed.port()).into());
        assert_eq!(
            answer,
            Answer::Refused,
            "{kind}: not a byte for a public source"
        );
        thread::sleep(Duration::from_millis(300));
        let (_, log) = closed.stop(Signal::Term);
        // Who was refused, where, and what would let them in.
        let told = |line: &str| {
            ["198.51.100.2", "[in]", KEY]
                .iter()
                .all(|part| line.contains(part))
        };
        assert!(log.lines().any(told), "no reason is logged:\n{log}");

        let open = network.start(&config(kind, "0.0.0.0", &Value::Null, true));
        let answer = network.ask((here, open.port()).into());
        assert_eq!(answer, Answer::Served, "{kind}");
    }
}

#[test]
fn users_open_the_inbound_to_public_sources() {
    let Some(network) = Network::new("198.51.100.1/24", "198.51.100.2/24") else {
        return;
    };
    let users = json!([{ "username": "u", "password": "p" }]);
    let proxy = network.start(&config("mixed", "0.0.0.0", &users, false));
    let server = SocketAddr::from(([198, 51, 100, 1], proxy.port()));
    let to = network.origin.addr();
    let code = network
        .client
        .enter(|| socks::open(server, Some(("u", "p")), to).err());
    assert_eq!(code, None);
}

#[test]
fn a_private_source_is_served_as_sing_box_does() {
    for (here, there) in [
        ("192.168.77.1/24", "192.168.77.2/24"),
        ("10.77.0.1/24", "10.77.0.2/24"),
        ("172.31.0.1/24", "172.31.0.2/24"),
        ("169.254.7.1/24", "169.254.7.2/24"),
    ] {
        let Some(network) = Network::new(here, there) else {
            return;
        };
        let proxy = network.start(&config("mixed", "0.0.0.0", &Value::Null, false));
        let ip: IpAddr = here
            .split('/')
            .next()
            .and_then(|ip| ip.parse().ok())
            .expect("an address");
        let answer = network.ask((ip, proxy.port()).into());
        assert_eq!(answer, Answer::Served, "{there}");
    }
}

#[test]
fn a_public_ipv6_source_is_refused_and_a_mapped_private_one_is_served() {
    let Some(network) = Network::new("2001:db8::1/64", "2001:db8::2/64") else {
        return;
    };
    network.proxy.run("ip addr add 192.168.78.1/24 dev wire");
    network.client.run("ip addr add 192.168.78.2/24 dev wire");
    // Until duplicate address detection is over, an address cannot be used.
    thread::sleep(Duration::from_millis(2200));
    let proxy = network.start(&config("mixed", "::", &Value::Null, false));
    let six: IpAddr = "2001:db8::1".parse().expect("an address");
    let answer = network.ask((six, proxy.port()).into());
    assert_eq!(answer, Answer::Refused, "a public IPv6 source");
    // A dual-stack listener sees IPv4 clients as ::ffff:a.b.c.d.
    let four: IpAddr = [192, 168, 78, 1].into();
    let answer = network.ask((four, proxy.port()).into());
    assert_eq!(answer, Answer::Served, "a mapped IPv4 source");
}
