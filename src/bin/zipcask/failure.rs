//! What ends a verb early: an exit code and one line.
//!
//! Floor 7. Imports nothing.

use std::error::Error as _;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind as UsageKind;
use zipcask::{Error, ErrorKind};

/// The result of everything that can end a verb.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a verb ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Whoever read our output has gone: nothing is wrong, and nobody is left to tell.
    Unread,
    /// Something to say.
    Said { code: Code, text: String },
}

/// The exit codes, as `--help` documents them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Code {
    NotFound = 1,
    Usage = 2,
    Damage = 3,
    Other = 4,
}

impl Failure {
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Failure {
        Failure::Said { code, text: text.into() }
    }

    /// A call of the operating system that failed; `what` was tried.
    pub(crate) fn io(what: impl fmt::Display, error: &io::Error) -> Failure {
        Failure::new(Code::Other, format!("{what}: {error}"))
    }

    /// A write to stdout that failed.
    pub(crate) fn stdout(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Unread,
            _ => Failure::io("cannot write to stdout", error),
        }
    }

    /// The same with `more` said after it.
    pub(crate) fn and(self, more: impl fmt::Display) -> Failure {
        match self {
            Failure::Unread => Failure::Unread,
            Failure::Said { code, text } => Failure::new(code, format!("{text}; {more}")),
        }
    }

    /// Says it on stderr.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Failure::Unread => ExitCode::SUCCESS,
            Failure::Said { code, text } => {
                say(&text);
                ExitCode::from(code as u8)
            }
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let code = match error.kind() {
            ErrorKind::NotFound => Code::NotFound,
            ErrorKind::Corruption => Code::Damage,
            _ => Code::Other,
        };
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Failure::new(code, text)
    }
}

/// Shows help and version where they were asked for, and says in one line what else is wrong with the command line.
pub(crate) fn of_usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        UsageKind::DisplayHelp | UsageKind::DisplayVersion | UsageKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // Help that cannot be written has nobody to read it.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Code::Usage as u8))
        }
        _ => {
            let text = error.to_string();
            let first = text.split("\n\n").next().unwrap_or(&text);
            let first = first.strip_prefix("error: ").unwrap_or(first);
            let words: Vec<_> = first.split_whitespace().collect();
            say(&format!("{}; try --help", words.join(" ")));
            ExitCode::from(Code::Usage as u8)
        }
    }
}

fn say(text: &str) {
    let line = text.replace(['\n', '\r'], " ");
    // Without a stderr the exit code has to do.
    let _ = writeln!(io::stderr(), "zipcask: {line}");
}
