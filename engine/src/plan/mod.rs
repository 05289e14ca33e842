//! The plan: everything a configuration decides, compiled once and shared by all sessions.
mod dial;
mod error;
mod paths;
mod reach;
#[cfg(test)]
mod tests;

use crate::{
    carrier::{CarrierPlan, paniq},
    config::model::{
        self, Config, Dial, Listen, Networks, OutboundKind, Route, SocksVersion, Span, Tun,
    },
    ids::{InboundId, OutboundId},
    router::{Metadata, Router, Verdict},
    users::Users,
};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
pub use error::PlanError;
use paths::Paths;
pub use reach::{Reach, is_public};
use sansbox_core::Target;
use sansbox_protocols::{http, paniq::tunnel::ClientConfig, socks};
use std::sync::Arc;

/// Where a server is while its name is not looked up.
const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Everything a configuration decides. Immutable; a reload builds a new one.
#[derive(Debug)]
pub struct Plan {
    inbounds: Vec<InboundPlan>,
    outbounds: Vec<OutboundPlan>,
    router: Router,
}

/// One inbound.
#[derive(Debug)]
pub struct InboundPlan {
    /// Its tag.
    pub tag: String,
    /// Where and how it listens.
    pub listen: Listen,
    /// What it speaks.
    pub service: Service,
    /// Who may use it; empty: everybody.
    pub users: Users,
    /// What receives its datagrams, where that is a carrier.
    pub carrier: Option<CarrierPlan>,
    /// Which targets its clients may reach directly.
    pub reach: Reach,
}

/// What an inbound speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// SOCKS4, 4a and 5.
    Socks,
    /// HTTP proxy.
    Http,
    /// SOCKS or HTTP, by the first byte.
    Mixed,
    /// Every connection and datagram goes to one destination.
    Direct {
        /// Host; `None`: the address it arrived at.
        host: Option<sansbox_core::Host>,
        /// Port; `None`: the port it arrived at.
        port: Option<u16>,
        /// TCP, UDP or both.
        networks: Networks,
    },
    /// A carrier's own protocol: its streams say where they go.
    Carried,
    /// A TUN device: no socket listens, and each flow says where it goes.
    Tun(Arc<Tun>),
}

impl InboundPlan {
    /// Which listeners the inbound needs.
    #[must_use]
    pub const fn listeners(&self) -> Networks {
        match self.service {
            Service::Direct { networks, .. } => networks,
            Service::Carried => Networks {
                tcp: false,
                udp: true,
            },
            Service::Socks | Service::Http | Service::Mixed => Networks {
                tcp: true,
                udp: false,
            },
            Service::Tun(_) => Networks {
                tcp: false,
                udp: false,
            },
        }
    }

    /// The TUN device of an inbound that is one.
    #[must_use]
    pub const fn tun(&self) -> Option<&Arc<Tun>> {
        match &self.service {
            Service::Tun(tun) => Some(tun),
            Service::Socks
            | Service::Http
            | Service::Mixed
            | Service::Direct { .. }
            | Service::Carried => None,
        }
    }

    /// Without users and without the key that says so on purpose, an inbound serves no public
    /// sources (protected mode). A carrier's protocol knows its clients by keys, and into a device
    /// come only packets that this machine routes there.
    #[must_use]
    pub const fn is_protected(&self) -> bool {
        self.users.is_empty()
            && !self.listen.allow_public
            && !matches!(self.service, Service::Carried | Service::Tun(_))
    }

    /// Whether a client at `source` is served.
    #[must_use]
    pub fn serves(&self, source: IpAddr) -> bool {
        !self.is_protected() || !is_public(source)
    }
}

/// One outbound.
#[derive(Debug)]
pub struct OutboundPlan {
    /// Its tag.
    pub tag: String,
    /// How its own sockets are opened, with what `route` says for all outbounds.
    pub dial: Dial,
    /// The proxy that it speaks to; `None` for outbounds that speak no protocol of their own.
    pub proxy: Option<Proxy>,
    /// What its streams go through, where that is a carrier.
    pub carrier: Option<CarrierPlan>,
    /// How a connection through it is made.
    pub path: Path,
}

/// The server of a proxy outbound, and what is the same in every handshake with it.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub server: Target,
    /// What it speaks.
    pub protocol: ProxyProtocol,
}

/// What a proxy outbound speaks.
#[derive(Debug)]
pub enum ProxyProtocol {
    /// SOCKS4, 4a or 5.
    Socks {
        /// Which.
        version: socks::Version,
        /// What this end logs in with.
        credentials: Option<socks::Credentials>,
        /// What may go through it.
        networks: Networks,
    },
    /// HTTP, by CONNECT.
    Http(http::ConnectOptions),
}

impl Proxy {
    /// SOCKS4 can name neither a domain nor an IPv6 address.
    pub(crate) const fn takes_only_ipv4(&self) -> bool {
        matches!(
            self.protocol,
            ProxyProtocol::Socks {
                version: socks::Version::V4,
                ..
            }
        )
    }

    /// The proxy of an outbound, when it is one.
    fn new(kind: &OutboundKind) -> Result<Option<Self>, &'static str> {
        const CREDENTIALS: &str = "the user name or password cannot be sent in this protocol";
        let (server, protocol) = match kind {
            OutboundKind::Socks {
                server,
                version,
                user,
                network,
            } => {
                let version = match version {
                    SocksVersion::V4 => socks::Version::V4,
                    SocksVersion::V4a => socks::Version::V4a,
                    SocksVersion::V5 => socks::Version::V5,
                };
                let credentials = user.as_ref().map(|user| {
                    socks::Credentials::new(user.username.as_bytes(), user.password.as_bytes())
                });
                let credentials = credentials.transpose().map_err(|_| CREDENTIALS)?;
                (
                    server,
                    ProxyProtocol::Socks {
                        version,
                        credentials,
                        networks: *network,
                    },
                )
            }
            OutboundKind::Http {
                server,
                user,
                path,
                headers,
            } => {
                let credentials = user.as_ref().map(|user| {
                    http::Credentials::new(user.username.as_bytes(), user.password.as_bytes())
                        .ok_or(CREDENTIALS)
                });
                let headers = headers
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str()));
                let options =
                    http::ConnectOptions::new(path, headers, credentials.transpose()?.as_ref());
                let options = options.map_err(|e| match e {
                    http::BadOption::Path => "the path is not valid in a request line",
                    http::BadOption::HeaderName => "a header name is not valid",
                    http::BadOption::HeaderValue => "a header value holds a control character",
                    http::BadOption::Framing => "a header would give CONNECT a body",
                    http::BadOption::Host => "a Host header is given twice, or with a path",
                    _ => "a header is not valid",
                });
                (server, ProxyProtocol::Http(options?))
            }
            OutboundKind::Direct
            | OutboundKind::Block
            | OutboundKind::Selector { .. }
            | OutboundKind::Paniq(_) => return Ok(None),
        };
        Ok(Some(Self {
            server: server.clone(),
            protocol,
        }))
    }
}

/// How a connection through an outbound is made: which one dials, and through which proxies, in
/// the order of their handshakes, it goes on from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// Refuse it.
    Blocked,
    /// Dial the first proxy, or the target where there is none.
    Through {
        /// Whose dial options the socket gets.
        dial: OutboundId,
        /// Outbounds whose handshake runs on the connection.
        proxies: Vec<OutboundId>,
    },
    /// Open a stream to the first proxy, or the target where there is none. UDP only where there is
    /// no proxy and the carrier has streams of datagrams.
    Carried {
        /// Whose carrier.
        carrier: OutboundId,
        /// Outbounds whose handshake runs on the stream.
        proxies: Vec<OutboundId>,
    },
}

impl Path {
    /// The target itself is dialled.
    pub(crate) fn is_direct(&self) -> bool {
        self.direct().is_some()
    }

    /// Whose dial options the socket gets, where the target itself is dialled.
    pub(crate) fn direct(&self) -> Option<OutboundId> {
        match self {
            Self::Through { dial, proxies } if proxies.is_empty() => Some(*dial),
            Self::Blocked | Self::Through { .. } | Self::Carried { .. } => None,
        }
    }
}

/// Most outbounds that one connection may lead through by detours and selections.
pub const CHAIN_MAX: usize = 64;

impl Plan {
    /// Compiles a configuration.
    ///
    /// # Errors
    /// All faults that were found, at least one.
    pub fn build(config: &Config) -> Result<Self, Vec<PlanError>> {
        let mut outbounds = config.outbounds.clone();
        if outbounds.is_empty() {
            outbounds.push(default_direct());
        }
        let users = config.inbounds.iter().map(|inbound| match &inbound.kind {
            model::InboundKind::Socks { users }
            | model::InboundKind::Http { users }
            | model::InboundKind::Mixed { users } => users.len(),
            model::InboundKind::Direct { .. }
            | model::InboundKind::Paniq(_)
            | model::InboundKind::Tun(_) => 0,
        });
        for (what, len) in [
            ("inbounds", config.inbounds.len()),
            ("outbounds", outbounds.len()),
            ("users of one inbound", users.max().unwrap_or(0)),
        ] {
            if u16::try_from(len).is_err() {
                return Err(vec![PlanError::TooMany(what)]);
            }
        }
        let paths = Paths::new(&outbounds);
        let mut errors = Vec::new();
        let mut planned = Vec::new();
        for (outbound, id) in outbounds.iter().zip(0..) {
            match plan_outbound(outbound, OutboundId(id), &paths, &config.route) {
                Ok(outbound) => planned.push(outbound),
                Err(e) => errors.push(e),
            }
        }
        let default = match &config.route.final_outbound {
            Some(tag) => paths.id_of(tag).map_err(|e| errors.push(e)).ok(),
            None => Some(OutboundId(0)),
        };
        let inbound_tags: Vec<String> = config.inbounds.iter().map(|i| i.tag.clone()).collect();
        let outbound_tags: Vec<String> = outbounds.iter().map(|o| o.tag.clone()).collect();
        let default = default.unwrap_or(OutboundId(0));
        match Router::compile(&config.route, &inbound_tags, &outbound_tags, default) {
            Ok(router) if errors.is_empty() => {
                let inbounds = config.inbounds.iter().map(plan_inbound).collect();
                Ok(Self {
                    inbounds,
                    outbounds: planned,
                    router,
                })
            }
            Ok(_) => Err(errors),
            Err(rules) => {
                errors.extend(rules.into_iter().map(PlanError::Rule));
                Err(errors)
            }
        }
    }

    /// The inbounds, in order.
    #[must_use]
    pub fn inbounds(&self) -> &[InboundPlan] {
        &self.inbounds
    }

    /// The inbound with this tag.
    #[must_use]
    pub fn inbound_of(&self, tag: &str) -> Option<InboundId> {
        let mut numbered = (0..).map(InboundId).zip(&self.inbounds);
        let found = numbered.find(|(_, inbound)| inbound.tag == tag);
        found.map(|(id, _)| id)
    }

    /// The outbounds, in order.
    #[must_use]
    pub fn outbounds(&self) -> &[OutboundPlan] {
        &self.outbounds
    }

    /// Whether it needs carriers: an event loop that has none cannot run it.
    #[must_use]
    pub fn has_carriers(&self) -> bool {
        let mut inbounds = self.inbounds.iter().map(|inbound| &inbound.carrier);
        let mut outbounds = self.outbounds.iter().map(|outbound| &outbound.carrier);
        inbounds.any(Option::is_some) || outbounds.any(Option::is_some)
    }

    /// Whether an outbound dials from the interface of the default route, so that an event loop has
    /// to know it: `Dial::auto_detect_interface` says which.
    #[must_use]
    pub fn detects_interface(&self) -> bool {
        let mut outbounds = self.outbounds.iter();
        outbounds.any(|outbound| outbound.dial.auto_detect_interface)
    }

    /// An inbound.
    ///
    /// # Panics
    /// When `id` is not of this plan.
    #[must_use]
    pub fn inbound(&self, id: InboundId) -> &InboundPlan {
        self.inbounds
            .get(usize::from(id.0))
            .expect("inbound ids come from the same plan")
    }

    /// An outbound.
    ///
    /// # Panics
    /// When `id` is not of this plan.
    #[must_use]
    pub fn outbound(&self, id: OutboundId) -> &OutboundPlan {
        self.outbounds
            .get(usize::from(id.0))
            .expect("outbound ids come from the same plan")
    }

    /// Which rule decides what becomes of a request.
    #[must_use]
    pub fn route(&self, metadata: &Metadata<'_>) -> Verdict {
        self.router.route(metadata)
    }
}

fn plan_outbound(
    outbound: &model::Outbound,
    id: OutboundId,
    paths: &Paths<'_>,
    route: &Route,
) -> Result<OutboundPlan, PlanError> {
    let bad = |reason| PlanError::BadOutbound {
        reason,
        span: outbound.span,
    };
    Ok(OutboundPlan {
        tag: outbound.tag.clone(),
        dial: dial::dial_of(outbound, route),
        proxy: Proxy::new(&outbound.kind).map_err(bad)?,
        carrier: plan_carrier(outbound),
        path: paths.find(id, &mut Vec::new())?,
    })
}

/// The carrier of an outbound that has one.
fn plan_carrier(outbound: &model::Outbound) -> Option<CarrierPlan> {
    let OutboundKind::Paniq(paniq) = &outbound.kind else {
        return None;
    };
    let dial = &outbound.dial;
    let mut config = ClientConfig::new(&paniq.profile, UNKNOWN);
    // As with a dial of its own: how long a connection waits before there is a way to the server.
    config.open_timeout = dial.connect_timeout.unwrap_or(config.open_timeout);
    let plan = paniq::ClientPlan {
        server: paniq.server.clone(),
        dial: dial.clone(),
        config,
        has_datagrams: paniq.profile.shared.has_datagrams,
    };
    Some(CarrierPlan::PaniqClient(Arc::new(plan)))
}

fn plan_inbound(inbound: &model::Inbound) -> InboundPlan {
    let (mut carrier, mut reach) = (None, Reach::All);
    let (service, users) = match &inbound.kind {
        model::InboundKind::Socks { users } => (Service::Socks, Users::new(users)),
        model::InboundKind::Http { users } => (Service::Http, Users::new(users)),
        model::InboundKind::Mixed { users } => (Service::Mixed, Users::new(users)),
        model::InboundKind::Direct {
            network,
            override_address,
            override_port,
        } => {
            let service = Service::Direct {
                host: override_address.clone(),
                port: *override_port,
                networks: *network,
            };
            (service, Users::default())
        }
        model::InboundKind::Paniq(paniq) => {
            let settings = Arc::clone(&paniq.profile);
            let plan = paniq::ServerPlan { settings };
            carrier = Some(CarrierPlan::PaniqServer(Arc::new(plan)));
            if !paniq.allow_private {
                reach = Reach::Public;
            }
            (Service::Carried, Users::default())
        }
        model::InboundKind::Tun(tun) => {
            let tun = Arc::new(Tun::clone(tun));
            (Service::Tun(tun), Users::default())
        }
    };
    InboundPlan {
        tag: inbound.tag.clone(),
        listen: inbound.listen.clone(),
        service,
        users,
        carrier,
        reach,
    }
}

fn default_direct() -> model::Outbound {
    model::Outbound {
        tag: "direct".into(),
        span: Span::default(),
        dial: Dial::default(),
        kind: OutboundKind::Direct,
    }
}
