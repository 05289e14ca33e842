//! How connections through outbounds are made: the way through detours and selections.
use super::{CHAIN_MAX, Path, PlanError};
use crate::{
    config::model::{self, OutboundKind, Span, Spanned},
    ids::OutboundId,
};
use std::collections::BTreeMap;

/// Finds the paths of outbounds through detours and selections.
pub(super) struct Paths<'a> {
    outbounds: &'a [model::Outbound],
    ids: BTreeMap<&'a str, OutboundId>,
}

impl Paths<'_> {
    pub(super) fn new(outbounds: &[model::Outbound]) -> Paths<'_> {
        let tags = outbounds.iter().map(|o| o.tag.as_str());
        let ids = tags.zip((0..=u16::MAX).map(OutboundId)).collect();
        Paths { outbounds, ids }
    }

    pub(super) fn id_of(&self, tag: &Spanned<String>) -> Result<OutboundId, PlanError> {
        let found = self.ids.get(tag.value.as_str()).copied();
        found.ok_or_else(|| PlanError::UnknownOutbound {
            tag: tag.value.clone(),
            span: tag.span,
        })
    }

    /// The path of an outbound; `visited` names those that led to it.
    pub(super) fn find(
        &self,
        id: OutboundId,
        visited: &mut Vec<OutboundId>,
    ) -> Result<Path, PlanError> {
        let outbound = self
            .outbounds
            .get(usize::from(id.0))
            .ok_or(PlanError::TooMany("outbounds"))?;
        if visited.contains(&id) {
            return Err(self.circular(visited, id, outbound.span));
        }
        if visited.len() == CHAIN_MAX {
            return Err(PlanError::ChainTooLong {
                span: outbound.span,
            });
        }
        visited.push(id);
        if let OutboundKind::Selector {
            outbounds, default, ..
        } = &outbound.kind
        {
            for member in outbounds {
                self.id_of(member)?;
            }
            return match default.as_ref().or_else(|| outbounds.first()) {
                Some(chosen) => self.find(self.id_of(chosen)?, visited),
                None => Ok(Path::Blocked),
            };
        }
        let below = match &outbound.dial.detour {
            Some(tag) => self.find(self.id_of(tag)?, visited)?,
            None if matches!(outbound.kind, OutboundKind::Paniq(_)) => Path::Carried {
                carrier: id,
                proxies: Vec::new(),
            },
            None => Path::Through {
                dial: id,
                proxies: Vec::new(),
            },
        };
        Ok(match (&outbound.kind, below) {
            (OutboundKind::Block, _) | (_, Path::Blocked) => Path::Blocked,
            (
                OutboundKind::Socks { .. } | OutboundKind::Http { .. },
                Path::Through { dial, mut proxies },
            ) => {
                proxies.push(id);
                Path::Through { dial, proxies }
            }
            (
                OutboundKind::Socks { .. } | OutboundKind::Http { .. },
                Path::Carried {
                    carrier,
                    mut proxies,
                },
            ) => {
                proxies.push(id);
                Path::Carried { carrier, proxies }
            }
            // A carrier has no detour: the configuration refuses it.
            (
                OutboundKind::Direct | OutboundKind::Selector { .. } | OutboundKind::Paniq(_),
                below,
            ) => below,
        })
    }

    fn circular(&self, visited: &[OutboundId], id: OutboundId, span: Span) -> PlanError {
        let around = visited.iter().skip_while(|v| **v != id).chain([&id]);
        let tags: Vec<&str> = around
            .filter_map(|v| self.outbounds.get(usize::from(v.0)))
            .map(|o| o.tag.as_str())
            .collect();
        PlanError::Circular {
            tags: tags.join(" -> "),
            span,
        }
    }
}
