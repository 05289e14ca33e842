//! The error that ends the program.
use crate::logger::{Level, Logger};
use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Instant,
};

/// Why the program cannot go on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fatal {
    /// One line: a chain of causes joined by ": ".
    pub(crate) message: String,
    /// For people, in several lines; may be empty.
    pub(crate) details: String,
}

impl Fatal {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            details: String::new(),
        }
    }

    /// What the system said to an attempt.
    pub(crate) fn io(attempt: impl std::fmt::Display, error: &io::Error) -> Self {
        Self::new(format!("{attempt}: {}", reason(error)))
    }

    /// Writes it to stderr; gives the exit code.
    pub(crate) fn tell(&self, began: Instant, colour: bool) -> ExitCode {
        if let Ok(logger) = Logger::on_stderr(began, colour) {
            logger.write(Level::Fatal, None, format_args!("{}", self.message));
        }
        // Nobody is left to tell when stderr is gone.
        let _ = io::stderr().write_all(self.details.as_bytes());
        ExitCode::FAILURE
    }
}

/// What the system said, in the words that Go programs use: `address already in use`.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = match (error.raw_os_error(), text.rfind(" (os error ")) {
        (Some(_), Some(at)) => text.get(..at).unwrap_or(&text),
        _ => &text,
    };
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_read_as_in_go() {
        for (code, text) in [
            (98, "address already in use"),
            (99, "cannot assign requested address"),
            (2, "no such file or directory"),
            (21, "is a directory"),
        ] {
            assert_eq!(reason(&io::Error::from_raw_os_error(code)), text);
        }
        assert_eq!(reason(&io::Error::other("Own words")), "own words");
    }
}
