//! The whole file and `log`.
use super::{INBOUNDS, OUTBOUNDS, not_yet, own, route::ROUTE, yes};
use crate::config::schema::{Kind, Object};

/// The whole file.
pub(crate) static TOP: Object = Object {
    title: "The whole file",
    doc: "JSON with comments (`#`, `//`, `/* */`) and trailing commas, as sing-box 1.12 reads it.",
    groups: &[own(&[
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
        yes(
            "sansbox",
            Kind::Object(&SANSBOX),
            "",
            "What sing-box has no key for. sing-box refuses a file that holds it.",
        ),
    ])],
    ignores: &[],
};

static LOG: Object = Object {
    title: "`log`",
    doc: "",
    groups: &[own(&[
        yes("disabled", Kind::Bool, "`false`", "Log nothing."),
        yes(
            "level",
            Kind::Text,
            "`info`",
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
    ])],
    ignores: &[],
};

static SANSBOX: Object = Object {
    title: "`sansbox`",
    doc: "Not of sing-box.",
    groups: &[own(&[
        yes(
            "workers",
            Kind::Integer,
            "one for each usable CPU",
            "Threads that serve.",
        ),
        yes(
            "max_connections",
            Kind::Integer,
            "no limit",
            "Most sessions and UDP associations at a time; accepting pauses there.",
        ),
        yes(
            "loopback_congestion",
            Kind::Text,
            "`cheap`",
            "Congestion control of sockets whose peer is on this machine, where there is no \
                 congestion: `cheap` takes the one that costs least, `system` leaves the \
                 administrator's choice.",
        ),
        yes(
            "recorder",
            Kind::Object(&RECORDER),
            "",
            "The flight recorder.",
        ),
    ])],
    ignores: &[],
};

static RECORDER: Object = Object {
    title: "`sansbox.recorder`",
    doc: "Not of sing-box. The flight recorder keeps the last inputs of all connections in \
          memory, one ring for each worker and for each queue of a TUN device, and writes them \
          to an `.sbx` file when a thread panics, when connections have to be cut at the end, \
          and on `SIGUSR2`. See `docs/flight-recorder.md`.",
    groups: &[own(&[
        yes(
            "mode",
            Kind::Text,
            "`shape`",
            "What is kept: `off` nothing; `shape` times, sizes and kinds, and no bytes, names or \
             addresses; `head` also up to 64 KiB of what each connection sent, which replays \
             handshakes; `full` everything. `head` and `full` want a `public_key`.",
        ),
        yes(
            "size",
            Kind::Integer,
            "`8388608`",
            "Bytes of each ring, from 262144 to 536870912.",
        ),
        yes(
            "keep",
            Kind::Duration,
            "`60s`",
            "How long back the ring goes.",
        ),
        yes(
            "directory",
            Kind::Text,
            "the working directory",
            "Folder of the recordings; made when it is not there.",
        ),
        yes(
            "public_key",
            Kind::Text,
            "",
            "To whom recordings of `head` and `full` are encrypted: the public key of \
             `sansbox generate recorder-keypair`.",
        ),
        yes(
            "flush_on_stop",
            Kind::Bool,
            "`false`",
            "Write a recording at every stop.",
        ),
    ])],
    ignores: &[],
};
