//! `obf.json`: header ranges, chains, signatures, frames, parameters.
use super::{Differences, list, number, octets, size, text, vectors};
use sansbox_protocols::paniq::obf::{
    Chain, ChainError, ChainProblem, FrameError, Framer, HeaderError, HeaderRange, Kind, Params,
    ParamsProblem, Spec,
};
use serde_json::Value;

fn error(case: &Value) -> Option<&str> {
    case.get("error").map(|error| error.as_str().unwrap())
}

fn header_error(error: &str) -> HeaderError {
    match error {
        "bad format" => HeaderError::BadFormat,
        "wrong range specified" => HeaderError::Reversed,
        _ if error.ends_with("value out of range") => HeaderError::OutOfRange,
        _ if error.ends_with("invalid syntax") => HeaderError::NotANumber,
        _ => panic!("an error nobody knows: {error}"),
    }
}

#[test]
fn header_ranges_read_as_in_go() {
    for case in list(&vectors("obf.json"), "header_parse") {
        let spec = text(case, "spec");
        let ours = HeaderRange::parse(spec);
        match error(case) {
            Some(error) => assert_eq!(ours, Err(header_error(error)), "{spec:?}"),
            None => {
                let range = ours.unwrap();
                let bounds = (u64::from(range.start()), u64::from(range.end()));
                assert_eq!(bounds, (number(case, "start"), number(case, "end")));
                assert_eq!(range.to_string(), text(case, "gen_spec"));
            }
        }
    }
}

#[test]
fn sets_of_header_ranges_are_taken_or_refused_as_in_go() {
    for case in list(&vectors("obf.json"), "header_sets") {
        let specs: Vec<_> = list(case, "specs")
            .iter()
            .map(|spec| spec.as_str().unwrap())
            .collect();
        let Ok(h) = specs.try_into() else {
            // The type has four: there is nothing to refuse.
            assert_eq!(error(case), Some("expected 4 header specs"));
            continue;
        };
        let params = Params::parse(&Spec {
            h,
            ..Spec::default()
        });
        match error(case) {
            Some(error) => {
                assert_eq!(error, "headers must not overlap");
                let problem = params.unwrap_err().problem;
                assert!(matches!(problem, ParamsProblem::Overlap { .. }), "{h:?}");
            }
            None => {
                let params = params.unwrap();
                let resolved: Vec<_> = Kind::ALL
                    .map(|kind| Value::from(params.header(kind).to_string()))
                    .into();
                assert_eq!(resolved, list(case, "resolved"), "{h:?}");
            }
        }
    }
}

/// The first line of a Go error, as ours; Go's later lines say what else is wrong.
fn chain_problem(error: &str) -> ChainProblem {
    match error.lines().next().unwrap() {
        "missing enclosing >" => ChainProblem::MissingEnd,
        "empty tag" => ChainProblem::EmptyTag,
        line if line.starts_with("unknown tag") => ChainProblem::UnknownTag,
        line if line.ends_with("empty argument") => ChainProblem::NoOctets,
        line if line.ends_with("odd amount of symbols") => ChainProblem::OddDigits,
        line if line.contains("encoding/hex: invalid byte") => ChainProblem::NotHex,
        line if line.contains("strconv.Atoi") => ChainProblem::NotANumber,
        line => panic!("an error nobody knows: {line}"),
    }
}

/// Chains that are read differently, and why.
const DIFFERENT_CHAINS: [(&str, &str); 1] = [(
    "<r -1>",
    "Go reads it and dies when the datagram is built (10.18)",
)];

/// Of a chain that Go reads: tags, and the length with an empty payload. The lengths with other
/// payloads, and `deobf_*`, are of no use on the wire: signatures carry none.
#[test]
fn chains_read_as_in_go() {
    let mut differences = Differences::new(&DIFFERENT_CHAINS);
    for case in list(&vectors("obf.json"), "chain_parse") {
        let spec = text(case, "spec");
        let ours = Chain::parse(spec).map(|chain| (chain.tags(), chain.len()));
        let ours = ours.map_err(|ChainError { problem, .. }| problem);
        let theirs = match error(case) {
            Some(error) => Err(chain_problem(error)),
            // -1 becomes a length that is ours never.
            None => Ok((
                size(case, "tags"),
                usize::try_from(case["len0"].as_i64().unwrap()).unwrap_or(usize::MAX),
            )),
        };
        differences.check(spec, &ours, &theirs);
    }
    differences.finish();
}

#[test]
fn signatures_are_taken_or_refused_as_in_go() {
    for case in list(&vectors("obf.json"), "signature_validate") {
        let chain = Chain::parse(text(case, "spec")).unwrap();
        let ours = chain.read(&octets(case, "datagram"));
        assert_eq!(ours.is_some(), case["ok"].as_bool().unwrap(), "{case}");
        let timestamp = ours.and_then(|signature| signature.timestamp);
        assert_eq!(
            timestamp.is_some(),
            case["has_timestamp"].as_bool().unwrap()
        );
        let timestamp = u64::from(timestamp.unwrap_or(0));
        assert_eq!(timestamp, number(case, "timestamp"));
    }
}

#[test]
fn frames_are_told_apart_as_in_go() {
    for case in list(&vectors("obf.json"), "frame_decode") {
        let h = [0, 1, 2, 3].map(|n| case["h"][n].as_str().unwrap());
        let s = [0, 1, 2, 3].map(|n| case["s"][n].as_i64().unwrap());
        let spec = Spec {
            h,
            s,
            ..Spec::default()
        };
        let framer = Framer::new(Params::parse(&spec).unwrap().into());
        let datagram = octets(case, "datagram");
        let ours = framer.decode(&datagram);
        match error(case) {
            Some("frame too short") => assert_eq!(ours, Err(FrameError::TooShort)),
            Some(_) => assert!(
                matches!(ours, Err(FrameError::Unknown | FrameError::Ambiguous)),
                "{case}"
            ),
            None => {
                let (kind, at) = ours.unwrap();
                let kind = 1 + Kind::ALL.iter().position(|other| *other == kind).unwrap();
                assert_eq!(kind, size(case, "type"), "{case}");
                assert_eq!(&datagram[at..], octets(case, "payload"), "{case}");
            }
        }
    }
}

/// Parameters that are judged differently, and why.
const DIFFERENT_PARAMETERS: [(&str, &str); 2] = [
    (
        "jc 3 jmin 0 jmax 10",
        "Go takes it, the client sends no junk and the server waits for three (1.5)",
    ),
    ("jc 3 jmin 10 jmax 0", "the same"),
];

#[test]
fn parameters_are_judged_as_in_go() {
    let mut differences = Differences::new(&DIFFERENT_PARAMETERS);
    for case in list(&vectors("obf.json"), "config_validate") {
        let config = &case["config"];
        let number = |key: &str| config[key].as_i64().unwrap();
        let text = |key: &str| config[key].as_str().unwrap();
        let (jc, jmin, jmax) = (number("Jc"), number("Jmin"), number("Jmax"));
        let spec = Spec {
            jc,
            jmin,
            jmax,
            s: ["S1", "S2", "S3", "S4"].map(number),
            h: ["H1", "H2", "H3", "H4"].map(text),
            i: ["I1", "I2", "I3", "I4", "I5"].map(text),
        };
        // How much junk is sent; an error by the key that Go's text begins with.
        let ours = match Params::parse(&spec) {
            Ok(params) => Ok(params.jc()),
            Err(error) => Err(error.field.to_string()),
        };
        let theirs = match error(case) {
            Some(error) => Err(error),
            None => Ok(size(case, "junk_sent")),
        };
        let fits = match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => ours == theirs,
            (Err(field), Err(error)) => {
                let of_go = error.split(' ').next().unwrap();
                match of_go {
                    "s1-s4" => field.starts_with('s'),
                    "jmin/jmax" => field == "jmin" || field == "jmax",
                    of_go => field == of_go,
                }
            }
            _ => false,
        };
        let name = format!("jc {jc} jmin {jmin} jmax {jmax}");
        differences.check(&name, &fits, &true);
    }
    differences.finish();
}
