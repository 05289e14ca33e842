//! Why there is no plan.
use super::CHAIN_MAX;
use crate::{config::model::Span, router::CompileError};

/// Why no plan can be built from a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A tag that no outbound has.
    #[error("outbound not found: {tag}")]
    UnknownOutbound {
        /// The tag.
        tag: String,
        /// Where it was written.
        span: Span,
    },
    /// Outbounds that lead back to themselves by detour or selection.
    #[error("circular outbound dependency: {tags}")]
    Circular {
        /// The tags on the way, joined by arrows.
        tags: String,
        /// The outbound where it was noticed.
        span: Span,
    },
    /// Detours and selections that lead through more than [`CHAIN_MAX`] outbounds.
    #[error("more than {CHAIN_MAX} outbounds in one chain of detours and selections")]
    ChainTooLong {
        /// The outbound where the chain was given up.
        span: Span,
    },
    /// An outbound whose own options cannot be used.
    #[error("{reason}")]
    BadOutbound {
        /// What is wrong.
        reason: &'static str,
        /// The outbound.
        span: Span,
    },
    /// More than 65,535 inbounds, outbounds or users of one inbound.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// A rule that cannot be compiled.
    #[error(transparent)]
    Rule(#[from] CompileError),
}

impl PlanError {
    /// Where the fault stands in the configuration.
    #[must_use]
    pub fn span(&self) -> Span {
        match self {
            Self::UnknownOutbound { span, .. }
            | Self::Circular { span, .. }
            | Self::ChainTooLong { span }
            | Self::BadOutbound { span, .. } => *span,
            Self::TooMany(_) => Span::default(),
            Self::Rule(e) => e.span,
        }
    }
}
