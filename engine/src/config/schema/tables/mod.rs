//! The tables.
mod inbound;
mod outbound;
mod route;
mod top;
mod tun;

use super::{Group, Kind, Row, Support};

pub(crate) use inbound::{INBOUNDS, TAG_ONLY};
pub(crate) use outbound::OUTBOUNDS;
pub(crate) use route::{
    ACTION_NAMES, LOGICAL_REJECT, LOGICAL_ROUTE, RULE_REJECT, RULE_ROUTE, RULE_TYPES,
};
pub(crate) use top::TOP;

/// A key that works.
const fn yes(key: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Row {
    Row {
        key,
        kind,
        default,
        doc,
        support: Support::Yes,
        always: false,
    }
}

/// A key that works and that `format` always writes.
const fn always(key: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Row {
    Row {
        always: true,
        ..yes(key, kind, default, doc)
    }
}

/// A key of sing-box 1.12 that is refused.
const fn not_yet(key: &'static str, kind: &'static str) -> Row {
    Row {
        support: Support::NotYet(None),
        ..yes(key, Kind::Other(kind), "", "")
    }
}

/// A key of sing-box 1.12 that is refused, and what to write instead.
const fn instead(key: &'static str, kind: &'static str, advice: &'static str) -> Row {
    Row {
        support: Support::NotYet(Some(advice)),
        ..not_yet(key, kind)
    }
}

/// Keys of one object.
const fn own(rows: &'static [Row]) -> Group {
    Group {
        title: None,
        exact: false,
        rows,
    }
}

/// Keys that several objects share; the reference page shows them once, under `title`.
const fn shared(title: &'static str, rows: &'static [Row]) -> Group {
    Group {
        title: Some(title),
        ..own(rows)
    }
}

/// Keys whose letter case matters.
const fn exact(group: Group) -> Group {
    Group {
        exact: true,
        ..group
    }
}
