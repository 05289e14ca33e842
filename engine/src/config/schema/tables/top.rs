//! The whole file and `log`.
use super::{INBOUNDS, OUTBOUNDS, not_yet, route::ROUTE, yes};
use crate::config::schema::{Group, Kind, Object};

/// The whole file.
pub(crate) static TOP: Object = Object {
    title: "The whole file",
    doc: "JSON with comments (`#`, `//`, `/* */`) and trailing commas, as sing-box 1.12 reads it.",
    groups: &[Group {
        exact: false,
        rows: &[
            yes(
                "$schema",
                Kind::Text,
                "",
                "For editors; it does nothing here.",
            ),
            yes("log", Kind::Object(&LOG), "", "What is logged, and where."),
            not_yet("dns", "object"),
            not_yet("ntp", "object"),
            not_yet("certificate", "object"),
            not_yet("endpoints", "array of objects"),
            yes(
                "inbounds",
                Kind::Variants(&INBOUNDS),
                "none",
                "What listens.",
            ),
            yes(
                "outbounds",
                Kind::Variants(&OUTBOUNDS),
                "one `direct`",
                "What dials. The first is used when no rule decides and `route.final` is absent.",
            ),
            yes(
                "route",
                Kind::Object(&ROUTE),
                "",
                "Which connection goes where.",
            ),
            not_yet("services", "array of objects"),
            not_yet("experimental", "object"),
        ],
    }],
    ignores: &[],
};

static LOG: Object = Object {
    title: "`log`",
    doc: "",
    groups: &[Group {
        exact: false,
        rows: &[
            yes("disabled", Kind::Bool, "`false`", "Log nothing."),
            yes(
                "level",
                Kind::Text,
                "`trace`",
                "Least severe level written: `trace`, `debug`, `info`, `warn`, `error`, `fatal` \
                 or `panic`.",
            ),
            yes(
                "output",
                Kind::Text,
                "`stderr`",
                "`stderr`, `stdout` or the path of a file.",
            ),
            yes(
                "timestamp",
                Kind::Bool,
                "`false`",
                "Begin lines with date and time.",
            ),
        ],
    }],
    ignores: &[],
};
