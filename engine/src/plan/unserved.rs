//! What is read and planned, and what no event loop serves yet.
use super::PlanError;
use crate::config::model::{Config, InboundKind, Span};

/// Refuses it, so that nothing of a configuration is without effect.
pub(super) fn refuse(config: &Config) -> Result<(), Vec<PlanError>> {
    let tuns = config.inbounds.iter().filter_map(|inbound| {
        let span = inbound.span;
        matches!(inbound.kind, InboundKind::Tun(_)).then_some(PlanError::Unserved {
            what: "tun inbounds",
            span,
        })
    });
    let detects = config.route.auto_detect_interface;
    let route = detects.then(|| PlanError::Unserved {
        what: "route.auto_detect_interface",
        span: Span::default(),
    });
    let errors: Vec<_> = tuns.chain(route).collect();
    if errors.is_empty() {
        return Ok(());
    }
    Err(errors)
}
