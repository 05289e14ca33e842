//! `paniq`: profiles, wherever they stand.
use super::{Builder, take_bool, take_port, take_text};
use crate::config::{
    error::{ErrorKind, WarningKind},
    model::{PaniqInbound, PaniqOutbound, Span, Spanned},
    outside::NAMED_FILE_BYTES_MAX,
    reader::{Member, Node, parse},
    schema::{Field, GUESSES_MAX, Record, Value, nearest, same_folded, to_json_as_written},
    source::Sources,
};
use sansbox_core::Target;
use sansbox_protocols::paniq::profile::{Invalid, Profile, ReadError, UnknownKey, Warning};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Where a profile may stand, from the client's side.
const CLIENT_KEYS: &[&str] = &["profile_path", "profile", "link"];
/// And from the server's.
const SERVER_KEYS: &[&str] = &["profile_path", "profile"];

/// Where a profile stood.
enum Place {
    /// In the configuration.
    Here(Node),
    /// In a file that the configuration names at this place.
    File {
        span: Span,
        path: String,
        bytes: Zeroizing<Vec<u8>>,
    },
    /// In the configuration, as a link.
    Link(Span),
}

/// Which part of a field is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Key,
    Value,
}

impl Place {
    /// Where in the configuration a field is to be shown, and where it is in a file of its own.
    fn of(&self, field: &str, part: Part) -> (Span, String) {
        match self {
            Self::Here(node) => (locate(node, field, part), String::new()),
            Self::File { span, path, bytes } => (*span, in_file(path, bytes, field, part)),
            Self::Link(span) => (*span, String::new()),
        }
    }
}

impl Builder<'_> {
    pub(super) fn paniq_outbound(&mut self, record: &mut Record) -> Option<PaniqOutbound> {
        let server = take_text(record, "server");
        let host = server.as_ref().map(|server| self.host(server));
        let port = take_port(record, "server_port");
        let (mut profile, place) = self.profile(record, CLIENT_KEYS)?;
        let host = match host {
            Some(host) => Some(host?),
            None => None,
        };
        if let (Some(host), Some(port)) = (&host, port) {
            profile.proxy_addr = Target::new(host.clone(), port).to_string();
        }
        let checked = profile.client();
        let checked = checked.map_err(|invalid| self.invalid(&place, &invalid));
        let checked = checked.ok()?;
        self.odd(&place, &checked.warnings);
        let mut settings = checked.settings;
        let port = port.unwrap_or(settings.server.port);
        let server = match host {
            Some(host) => Target::new(host, port),
            None => Target::new(settings.server.host.clone(), port),
        };
        settings.server = server.clone();
        Some(PaniqOutbound {
            profile: Arc::new(settings),
            server,
        })
    }

    pub(super) fn paniq_inbound(&mut self, record: &mut Record) -> Option<PaniqInbound> {
        let allow_private = take_bool(record, "allow_private");
        let (profile, place) = self.profile(record, SERVER_KEYS)?;
        let checked = profile.server(self.outside.since_1970.as_secs());
        let checked = checked.map_err(|invalid| self.invalid(&place, &invalid));
        let checked = checked.ok()?;
        self.odd(&place, &checked.warnings);
        Some(PaniqInbound {
            profile: Arc::new(checked.settings),
            allow_private,
        })
    }

    /// The profile that stands at one of `keys`, and where it stood.
    fn profile(
        &mut self,
        record: &mut Record,
        keys: &'static [&'static str],
    ) -> Option<(Profile, Place)> {
        let mut given = Vec::new();
        for key in keys {
            let field = record.take(key);
            given.extend(field.filter(|field| !field.value.is_zero()));
        }
        given.sort_by_key(|field| field.span.start);
        let mut given = given.into_iter();
        let Some(Field { row, value, span }) = given.next() else {
            self.problem(record.span, ErrorKind::MissingOneOf { keys });
            return None;
        };
        let before = self.problems.len();
        for second in given {
            let (key, other) = (second.row.key, row.key);
            self.problem(second.span, ErrorKind::Exclusive { key, other });
        }
        if self.problems.len() > before {
            return None;
        }
        if let Value::Tree(node) = value {
            return self.inline(node);
        }
        let Value::Text(value) = value else {
            return None;
        };
        match row.key {
            "link" => self.link(&Spanned { value, span }),
            _ => self.named(Spanned { value, span }),
        }
    }

    fn inline(&mut self, node: Node) -> Option<(Profile, Place)> {
        let text = to_json_as_written(&node);
        let read = Profile::from_json_with_unknown(text.as_bytes());
        let place = Place::Here(node);
        let (profile, unknown) = match read {
            Ok(read) => read,
            Err(error) => {
                self.bad_profile(&place, &error.path, error.to_string());
                return None;
            }
        };
        // Here, as everywhere in a configuration, a key that nobody reads is a mistake.
        let before = self.problems.len();
        for key in &unknown {
            let nearest = self.nearest(key);
            let (span, _) = place.of(&path_of(key), Part::Key);
            let key = key.key.clone();
            self.problem(span, ErrorKind::UnknownKey { key, nearest });
        }
        (self.problems.len() == before).then_some((profile, place))
    }

    fn link(&mut self, link: &Spanned<String>) -> Option<(Profile, Place)> {
        let place = Place::Link(link.span);
        match Profile::from_link(&link.value) {
            Ok(profile) => Some((profile, place)),
            Err(error) => {
                self.bad_profile(&place, "", error.to_string());
                None
            }
        }
    }

    /// The profile in a file that the configuration names.
    fn named(&mut self, path: Spanned<String>) -> Option<(Profile, Place)> {
        let Spanned { value: path, span } = path;
        let limit = NAMED_FILE_BYTES_MAX;
        let bytes = match self.outside.files {
            None => Err("files cannot be named here: the profile itself can be".to_owned()),
            Some(files) => files.read(&path, limit).map(Zeroizing::new),
        };
        let bytes = bytes.and_then(|bytes| match bytes.len() <= limit {
            true => Ok(bytes),
            false => Err(format!("the file is longer than {limit} bytes")),
        });
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(reason) => {
                self.problem(span, ErrorKind::File { path, reason });
                return None;
            }
        };
        let read = Profile::from_file(&bytes);
        let place = Place::File { span, path, bytes };
        match read {
            Ok((profile, unknown)) => {
                for key in &unknown {
                    self.ignored(&place, key);
                }
                Some((profile, place))
            }
            Err(error) => {
                let field = match &error {
                    ReadError::Json(error) => &error.path,
                    ReadError::Cbor(_) | ReadError::Link(_) => "",
                };
                self.bad_profile(&place, field, error.to_string());
                None
            }
        }
    }

    fn bad_profile(&mut self, place: &Place, field: &str, problem: String) {
        let (span, file) = place.of(field, Part::Value);
        self.problem(span, ErrorKind::Profile { file, problem });
    }

    fn invalid(&mut self, place: &Place, Invalid(problems): &Invalid) {
        for problem in problems {
            self.bad_profile(place, &problem.field, problem.to_string());
        }
    }

    fn odd(&mut self, place: &Place, warnings: &[Warning]) {
        for warning in warnings {
            let (span, file) = place.of(&warning.field, Part::Value);
            let problem = warning.to_string();
            let warning = WarningKind::Profile { file, problem };
            self.warnings.push((warning, span));
        }
    }

    /// A key of a file that the Go programs ignore, and so does this one.
    fn ignored(&mut self, place: &Place, key: &UnknownKey) {
        let (span, file) = place.of(&path_of(key), Part::Key);
        let nearest = self.nearest(key);
        let unknown = ErrorKind::UnknownKey {
            key: key.key.clone(),
            nearest,
        };
        let problem = format!("{unknown} (ignored)");
        let warning = WarningKind::Profile { file, problem };
        self.warnings.push((warning, span));
    }

    fn nearest(&self, key: &UnknownKey) -> Option<String> {
        let few = self.problems.len() + self.warnings.len() < GUESSES_MAX;
        let nearest = few.then(|| nearest(&key.key, key.known.iter().copied()));
        nearest.flatten().map(str::to_owned)
    }
}

fn path_of(key: &UnknownKey) -> String {
    match key.within {
        "" => key.key.clone(),
        within => format!("{within}.{}", key.key),
    }
}

/// Where a field stands that is named as in `quic.keepalive`: of equal keys the last, and of a
/// field that is not there the object that should have it.
fn locate(profile: &Node, field: &str, part: Part) -> Span {
    let (first, second) = match field.split_once('.') {
        Some((first, second)) => (first, Some(second)),
        None => (field, None),
    };
    let span = |member: &Member| match part {
        Part::Key => member.key_span,
        Part::Value => member.value.span,
    };
    let outer = members_of(profile, first);
    let Some(second) = second else {
        return outer.last().map_or(profile.span, |member| span(member));
    };
    let inner = outer.iter().flat_map(|m| members_of(&m.value, second));
    let object = outer.last().map_or(profile.span, |m| m.value.span);
    inner.last().map_or(object, span)
}

/// The members with a key, whatever their case.
fn members_of<'a>(object: &'a Node, key: &str) -> Vec<&'a Member> {
    let members = object.members().unwrap_or_default().iter();
    members.filter(|m| same_folded(key, &m.key)).collect()
}

/// A file's name, with line and column of a field where they can be told.
fn in_file(path: &str, bytes: &[u8], field: &str, part: Part) -> String {
    let is_json = bytes.trim_ascii_start().first() == Some(&b'{');
    let sources = Sources::single(path, if is_json { bytes } else { &[] });
    let source = sources.files().first();
    let root = source.and_then(|source| parse(source).ok());
    match (source, root) {
        (Some(source), Some(root)) => {
            let place = source.locate(locate(&root, field, part).start);
            format!("{path}:{}:{}", place.line, place.column)
        }
        _ => path.to_owned(),
    }
}
