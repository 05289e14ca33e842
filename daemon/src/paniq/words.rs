//! The command line below `paniq`. Flags are Go's: `-name value` and `--name=value` alike, and
//! switches take a value behind `=` alone.
use super::{Command, Input, Output};
use crate::{cli::Refusal, fatal::Fatal};
use std::{ffi::OsString, path::PathBuf};

/// What a new profile is drawn for, unless the command line says so.
const MTU_DEFAULT: u32 = 1420;

/// Flags that every command of sansbox has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Globals {
    pub(crate) directory: Option<PathBuf>,
    pub(crate) disable_color: bool,
}

const HELP: [&str; 2] = ["h", "help"];
const DIRECTORY: [&str; 2] = ["D", "directory"];
const DISABLE_COLOR: &str = "disable-color";

/// What a command of `paniq` takes.
struct Grammar {
    switches: &'static [&'static str],
    values: &'static [&'static str],
}

const KEYGEN: Grammar = Grammar {
    switches: &[],
    values: &[],
};
const CREATE_PROFILE: Grammar = Grammar {
    switches: &["pin"],
    values: &["mtu", "profile-name", "proxy-addr", "out", "client-out"],
};
const PROFILE_CBOR: Grammar = Grammar {
    switches: &["decode", "base64"],
    values: &["in", "out"],
};
const LINK: Grammar = Grammar {
    switches: &["decode"],
    values: &["in", "out"],
};

const CHECK: Grammar = Grammar {
    switches: &[],
    values: &["in"],
};

const PIN: Grammar = Grammar {
    switches: &[],
    values: &["in"],
};

/// Understands what follows `paniq`.
pub(crate) fn parse(
    args: impl IntoIterator<Item = OsString>,
) -> Result<(Command, Globals), Refusal> {
    let mut args = args.into_iter();
    let Some(name) = args.next() else {
        return Ok((Command::Help, Globals::default()));
    };
    let name = name.to_string_lossy().into_owned();
    let grammar = match name.as_str() {
        "keygen" => KEYGEN,
        "create-profile" => CREATE_PROFILE,
        "profile-cbor" => PROFILE_CBOR,
        "link" => LINK,
        "check" => CHECK,
        "pin" => PIN,
        "help" | "-h" | "--help" => return Ok((Command::Help, Globals::default())),
        other if other.starts_with('-') => return Err(unknown_flag(other)),
        other => {
            let text = format!("unknown command {other:?} for \"sansbox paniq\"");
            return Err(Refusal::Usage(text));
        }
    };
    let flags = Flags::read(&grammar, &name, args)?;
    let globals = Globals {
        directory: flags.path(&DIRECTORY),
        disable_color: flags.has(DISABLE_COLOR)?,
    };
    if flags.has("help")? || flags.has("h")? {
        return Ok((Command::Help, globals));
    }
    let input = Input::from(flags.path(&["in"]).unwrap_or_default());
    let output = Output::to(&flags.path(&["out"]).unwrap_or_default());
    let command = match name.as_str() {
        "keygen" => Command::Keygen,
        "create-profile" => Command::CreateProfile {
            mtu: flags.mtu()?,
            name: flags.text("profile-name")?,
            proxy_addr: flags.text("proxy-addr")?,
            pin: flags.has("pin")?,
            output,
            client_output: flags.path(&["client-out"]),
        },
        "profile-cbor" => Command::ProfileCbor {
            decode: flags.has("decode")?,
            base64: flags.has("base64")?,
            input,
            output,
        },
        "check" => Command::Check { input },
        "pin" => Command::Pin { input },
        _ => Command::Link {
            decode: flags.has("decode")?,
            input,
            output,
        },
    };
    Ok((command, globals))
}

/// Flags and their values in the order of the command line; switches without a value have none.
struct Flags(Vec<(String, Option<OsString>)>);

impl Flags {
    fn read(
        grammar: &Grammar,
        command: &str,
        mut args: impl Iterator<Item = OsString>,
    ) -> Result<Self, Refusal> {
        let mut flags = Vec::new();
        while let Some(arg) = args.next() {
            let bad = |arg| Refusal::Usage(format!("not UTF-8: {arg:?}"));
            let text = arg.into_string().map_err(bad)?;
            let flag = text.strip_prefix("--").or_else(|| text.strip_prefix('-'));
            let Some(flag) = flag.filter(|flag| !flag.is_empty()) else {
                let text = format!("unknown command {text:?} for \"sansbox paniq {command}\"");
                return Err(Refusal::Usage(text));
            };
            let (name, given) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(OsString::from(value))),
                None => (flag, None),
            };
            let value = if is_switch(grammar, name) {
                given
            } else if grammar.values.contains(&name) || DIRECTORY.contains(&name) {
                let value = given.or_else(|| args.next());
                let missing = || Refusal::Usage(format!("missing argument for option '--{name}'"));
                Some(value.ok_or_else(missing)?)
            } else {
                return Err(unknown_flag(&text));
            };
            flags.push((name.to_owned(), value));
        }
        Ok(Self(flags))
    }

    /// The value of the last flag with one of these names.
    fn value(&self, names: &[&str]) -> Option<&OsString> {
        let mut named = self.0.iter().rev();
        let (_, value) = named.find(|(name, _)| names.contains(&name.as_str()))?;
        value.as_ref()
    }

    fn path(&self, names: &[&str]) -> Option<PathBuf> {
        self.value(names).map(PathBuf::from)
    }

    fn text(&self, name: &str) -> Result<String, Refusal> {
        let Some(value) = self.value(&[name]) else {
            return Ok(String::new());
        };
        let text = value.to_str().map(str::to_owned);
        text.ok_or_else(|| Refusal::Usage(format!("--{name}: not UTF-8: {value:?}")))
    }

    /// Is the switch on? It may say so itself, in the words of Go.
    fn has(&self, name: &str) -> Result<bool, Refusal> {
        let mut named = self.0.iter().rev();
        let Some((_, value)) = named.find(|(own, _)| own == name) else {
            return Ok(false);
        };
        let Some(value) = value else {
            return Ok(true);
        };
        match value.to_str() {
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            _ => {
                let text = format!("--{name} is true or false, not {value:?}");
                Err(Refusal::Usage(text))
            }
        }
    }

    fn mtu(&self) -> Result<u32, Refusal> {
        let text = self.text("mtu")?;
        if text.is_empty() && self.value(&["mtu"]).is_none() {
            return Ok(MTU_DEFAULT);
        }
        let bad = |e| Refusal::Fatal(Fatal::new(format!("mtu {text:?}: {e}")));
        text.parse().map_err(bad)
    }
}

fn is_switch(grammar: &Grammar, name: &str) -> bool {
    grammar.switches.contains(&name) || HELP.contains(&name) || name == DISABLE_COLOR
}

fn unknown_flag(text: &str) -> Refusal {
    Refusal::Usage(format!("unknown flag: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn read(line: &str) -> Result<(Command, Globals), Refusal> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn command(line: &str) -> Command {
        read(line).expect(line).0
    }

    #[test]
    fn flags_are_read_as_go_does() {
        let cbor = |decode, base64, input: &str| Command::ProfileCbor {
            decode,
            base64,
            input: Input::from(input.into()),
            output: Output::default(),
        };
        for (line, expected) in [
            ("", Command::Help),
            ("help", Command::Help),
            ("--help", Command::Help),
            ("link -h", Command::Help),
            ("keygen", Command::Keygen),
            (
                "check -in=p",
                Command::Check {
                    input: Input::from("p".into()),
                },
            ),
            (
                "pin --in p",
                Command::Pin {
                    input: Input::from("p".into()),
                },
            ),
            ("profile-cbor", cbor(false, false, "")),
            ("profile-cbor -decode", cbor(true, false, "")),
            ("profile-cbor --decode -base64", cbor(true, true, "")),
            (
                "profile-cbor -decode=false --base64=1",
                cbor(false, true, ""),
            ),
            ("profile-cbor -in -decode", cbor(false, false, "-decode")),
            ("profile-cbor -in=a=b -in c", cbor(false, false, "c")),
            ("profile-cbor --in=", cbor(false, false, "")),
        ] {
            assert_eq!(command(line), expected, "{line}");
        }
        let created = Command::CreateProfile {
            mtu: 1300,
            name: "n".to_owned(),
            proxy_addr: "-h:1".to_owned(),
            pin: true,
            output: Output::to(Path::new("s")),
            client_output: Some("c".into()),
        };
        let line = "create-profile -mtu 1300 --profile-name=n --proxy-addr -h:1 -pin \
                    -out s --client-out c";
        assert_eq!(command(line), created);
    }

    #[test]
    fn flags_of_all_commands_are_known() {
        let globals = Globals {
            directory: Some("d".into()),
            disable_color: true,
        };
        let got = read("keygen -D x --directory=d --disable-color").expect("good flags");
        assert_eq!(got, (Command::Keygen, globals));
    }

    #[test]
    fn nonsense_is_refused_with_its_name() {
        for (line, text) in [
            (
                "headergen",
                "unknown command \"headergen\" for \"sansbox paniq\"",
            ),
            ("-x", "unknown flag: -x"),
            (
                "keygen x",
                "unknown command \"x\" for \"sansbox paniq keygen\"",
            ),
            ("keygen -decode", "unknown flag: -decode"),
            ("link -base64", "unknown flag: -base64"),
            ("check -out x", "unknown flag: -out"),
            ("pin -out x", "unknown flag: -out"),
            ("link --in", "missing argument for option '--in'"),
            (
                "link -decode=maybe",
                "--decode is true or false, not \"maybe\"",
            ),
            (
                "link - ",
                "unknown command \"-\" for \"sansbox paniq link\"",
            ),
        ] {
            assert_eq!(read(line), Err(Refusal::Usage(text.into())), "{line}");
        }
        for line in [
            "create-profile --mtu x",
            "create-profile --mtu=",
            "create-profile --mtu -1",
        ] {
            assert!(matches!(read(line), Err(Refusal::Fatal(_))), "{line}");
        }
    }
}
