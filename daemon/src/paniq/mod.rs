//! `sansbox paniq`: keys and profiles of paniq tunnels, as the Go program `bf` makes them.
//!
//! | module | holds |
//! |---|---|
//! | `words` | the command line below `paniq`, which has Go's flags |
//! | `files` | what is read and written |
mod files;
mod words;

pub(crate) use files::{Input, Output};
pub(crate) use words::parse;

use crate::{
    commands::{fill, print},
    fatal::Fatal,
    logger::{Level, Logger},
};
use base64::{
    Engine as _, alphabet,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};
use jiff::{Timestamp, tz::TimeZone};
use sansbox_core::Seed;
use sansbox_protocols::paniq::profile::{Checked, NewProfile, PrivateKey, Profile, UnknownKey};
use std::{fmt, path::PathBuf, time::Instant};
use zeroize::Zeroizing;

/// Standard base64 with padding, as Go reads and writes it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Why a profile leads to no pin.
const NO_PIN: &str = "obfuscation.server_private_key: required: the pin comes from it";

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Keygen,
    CreateProfile {
        mtu: u32,
        name: String,
        proxy_addr: String,
        pin: bool,
        output: Output,
        client_output: Option<PathBuf>,
    },
    ProfileCbor {
        decode: bool,
        base64: bool,
        input: Input,
        output: Output,
    },
    Link {
        decode: bool,
        input: Input,
        output: Output,
    },
    Check {
        input: Input,
    },
    Pin {
        input: Input,
    },
}

/// What is odd about a profile, told on stderr.
struct Oddities {
    began: Instant,
    colour: bool,
}

impl Oddities {
    fn tell(&self, input: &Input, odd: &dyn fmt::Display) -> Result<(), Fatal> {
        let logger = Logger::on_stderr(self.began, self.colour)?;
        let text = format_args!("profile at {}: {odd}", input.name());
        logger.write(Level::Warn, None, text);
        Ok(())
    }

    /// Tells of keys that are in no profile, and are lost wherever one is written.
    fn ignored(&self, input: &Input, keys: &[UnknownKey]) -> Result<(), Fatal> {
        keys.iter().try_for_each(|unknown| {
            let UnknownKey { within, key, .. } = unknown;
            let within = match *within {
                "" => String::new(),
                within => format!("{within}: "),
            };
            self.tell(
                input,
                &format_args!("{within}unknown key {key:?} (ignored)"),
            )
        })
    }

    fn of<S>(&self, input: &Input, checked: &Checked<S>) -> Result<(), Fatal> {
        let mut warnings = checked.warnings.iter();
        warnings.try_for_each(|warning| self.tell(input, warning))
    }
}

impl Command {
    /// Does it.
    pub(crate) fn perform(&self, began: Instant, colour: bool) -> Result<(), Fatal> {
        let oddities = Oddities { began, colour };
        match self {
            Self::Help => crate::commands::help(),
            Self::Keygen => keygen(),
            Self::CreateProfile {
                mtu,
                name,
                proxy_addr,
                pin,
                output,
                client_output,
            } => {
                let new = NewProfile {
                    name: &default_name(name),
                    proxy_addr,
                    mtu: *mtu,
                };
                if proxy_addr.is_empty() {
                    let text = "proxy_addr is empty: a client needs it (--proxy-addr HOST:PORT)";
                    let logger = Logger::on_stderr(began, colour)?;
                    logger.write(Level::Warn, None, format_args!("{text}"));
                }
                create_profile(new, *pin, output, client_output.as_ref())
            }
            Self::ProfileCbor {
                decode,
                base64,
                input,
                output,
            } => match decode {
                true => from_cbor(input, *base64, output),
                false => to_cbor(input, *base64, output, &oddities),
            },
            Self::Link {
                decode,
                input,
                output,
            } => match decode {
                true => from_link(input, output, &oddities),
                false => to_link(input, output, &oddities),
            },
            Self::Check { input } => check(input, &oddities),
            Self::Pin { input } => pin(input, &oddities),
        }
    }
}

/// A pair of keys for a server, as lines for a profile.
fn keygen() -> Result<(), Fatal> {
    let mut random = Zeroizing::new([0; 32]);
    fill(&mut *random)?;
    let private = PrivateKey::new(*random);
    let (private, public) = (private.to_base64(), private.public().to_base64());
    let lines = [
        "server_private_key=",
        &private,
        "\nserver_public_key=",
        &public,
        "\n",
    ];
    print(Zeroizing::new(lines.concat()).as_bytes())
}

/// The name that was given, or one with today's date.
fn default_name(given: &str) -> String {
    match given {
        "" => format!("bf-{}", Timestamp::now().to_zoned(TimeZone::UTC).date()),
        given => given.to_owned(),
    }
}

fn create_profile(
    new: NewProfile<'_>,
    with_pin: bool,
    output: &Output,
    client_output: Option<&PathBuf>,
) -> Result<(), Fatal> {
    let mut random = Zeroizing::new([0; 32]);
    fill(&mut *random)?;
    let profile = new.draw(Seed::new(*random));
    let mut profile = profile.map_err(|e| Fatal::new(format!("create-profile: {e}")))?;
    if with_pin {
        // The server's profile has it as well, so that links made of it do.
        let private = profile.obfuscation.server_private_key.as_ref();
        profile.server_pin = private.map(PrivateKey::pin);
    }
    output.text(&profile.to_json())?;
    match client_output {
        Some(path) => Output::to(path).text(&profile.for_clients().to_json()),
        None => Ok(()),
    }
}

/// The JSON profile of `input`.
fn read_json(input: &Input, oddities: &Oddities) -> Result<Profile, Fatal> {
    let bytes = input.read()?;
    let read = Profile::from_json_with_unknown(&bytes);
    let (profile, unknown) = read.map_err(|e| input.undecodable(&e))?;
    oddities.ignored(input, &unknown)?;
    Ok(profile)
}

fn to_cbor(input: &Input, base64: bool, output: &Output, oddities: &Oddities) -> Result<(), Fatal> {
    let profile = read_json(input, oddities)?;
    let cbor = profile.to_cbor().map_err(|e| input.refused(&e))?;
    match base64 {
        true => output.text(&Zeroizing::new(BASE64.encode(&*cbor))),
        false => output.bytes(&cbor),
    }
}

fn from_cbor(input: &Input, base64: bool, output: &Output) -> Result<(), Fatal> {
    let mut bytes = input.read()?;
    if base64 {
        bytes.retain(|byte| !byte.is_ascii_whitespace());
        if bytes.is_empty() {
            return Err(input.undecodable(&"no base64 in it"));
        }
        let decoded = BASE64.decode(&*bytes);
        bytes = Zeroizing::new(decoded.map_err(|e| input.undecodable(&e))?);
    }
    let read = Profile::from_printed_cbor(&bytes);
    let profile = read.map_err(|e| input.undecodable(&e))?;
    output.text(&profile.to_json())
}

fn to_link(input: &Input, output: &Output, oddities: &Oddities) -> Result<(), Fatal> {
    let profile = read_json(input, oddities)?;
    let client = profile.for_clients().client();
    oddities.of(input, &client.map_err(|e| input.refused(&e))?)?;
    let link = profile.to_link().map_err(|e| input.refused(&e))?;
    output.text(&link)
}

fn from_link(input: &Input, output: &Output, oddities: &Oddities) -> Result<(), Fatal> {
    let bytes = input.read()?;
    let link = std::str::from_utf8(&bytes).map_err(|_| input.undecodable(&"not UTF-8"))?;
    let profile = Profile::from_link(link).map_err(|e| input.undecodable(&e))?;
    // What a client could not use is written all the same, to be looked at.
    if let Ok(client) = profile.client() {
        oddities.of(input, &client)?;
    }
    output.text(&profile.to_json())
}

/// Says nothing about a good profile. One with a private key is a server's, and must be good for
/// its clients as well, unless it has no address that they could be given.
fn check(input: &Input, oddities: &Oddities) -> Result<(), Fatal> {
    let bytes = input.read()?;
    let read = Profile::from_file(&bytes);
    let (profile, unknown) = read.map_err(|e| input.undecodable(&e))?;
    oddities.ignored(input, &unknown)?;
    if profile.obfuscation.server_private_key.is_none() {
        let client = profile.client().map_err(|e| input.refused(&e))?;
        return oddities.of(input, &client);
    }
    let now = Timestamp::now().as_second();
    let server = profile.server(u64::try_from(now).unwrap_or(0));
    oddities.of(input, &server.map_err(|e| input.refused(&e))?)?;
    if !profile.proxy_addr.is_empty() {
        let client = profile.for_clients().client();
        client.map_err(|e| input.refused(&e))?;
    }
    Ok(())
}

/// The pin of the server whose profile this is.
fn pin(input: &Input, oddities: &Oddities) -> Result<(), Fatal> {
    let bytes = input.read()?;
    let read = Profile::from_file(&bytes);
    let (profile, unknown) = read.map_err(|e| input.undecodable(&e))?;
    oddities.ignored(input, &unknown)?;
    let private = profile.obfuscation.server_private_key.as_ref();
    let private = private.ok_or_else(|| input.refused(&NO_PIN))?;
    Output::default().text(&private.pin().to_base64())
}
