//! The command line.

use std::path::PathBuf;

use crate::plan::WORKS;

/// The works that are not in the plan: each has a table of its own.
pub(crate) const INDEX: &str = "index";
pub(crate) const SPACE: &str = "space";

/// What can be asked for.
pub(crate) fn usage() -> String {
    let mut works: Vec<&str> = WORKS.iter().map(|work| work.name).chain([INDEX, SPACE]).collect();
    works.dedup();
    format!(
        "usage: zipcask-peers [--keys N] [--rounds N] [--only WORK] [--engine NAME]... [--seed N] [--dir DIR]\n\
         works: {}\nan engine is named by how its name begins; without any, all are measured",
        works.join(", ")
    )
}

/// What is measured, and how.
pub(crate) struct Options {
    pub(crate) keys: u64,
    pub(crate) rounds: usize,
    pub(crate) only: Option<String>,
    pub(crate) engines: Vec<String>,
    pub(crate) seed: u64,
    /// Where the stores are made; not in a file system in memory, if the durable figures are to mean something.
    pub(crate) dir: PathBuf,
}

impl Options {
    /// # Errors
    /// What is wrong with the arguments.
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options {
            keys: 1_000_000,
            rounds: 15,
            only: None,
            engines: Vec::new(),
            seed: 1,
            dir: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target")),
        };
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} wants a value, or is unknown"))?;
            let number = || value.parse::<u64>().map_err(|error| format!("{name} {value}: {error}"));
            match name.as_str() {
                "--keys" => options.keys = number()?.max(1_000),
                "--rounds" => options.rounds = number()?.max(1) as usize,
                "--seed" => options.seed = number()?,
                "--dir" => options.dir = PathBuf::from(value),
                "--engine" => options.engines.push(value),
                "--only" if is_work(&value) => options.only = Some(value),
                "--only" => return Err(format!("{value} is no work")),
                _ => return Err(format!("{name} is unknown")),
            }
        }
        Ok(options)
    }

    pub(crate) fn wants_work(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == name)
    }

    pub(crate) fn wants_engine(&self, engine: &str) -> bool {
        self.engines.is_empty() || self.engines.iter().any(|name| engine.starts_with(name.as_str()))
    }
}

fn is_work(name: &str) -> bool {
    [INDEX, SPACE].contains(&name) || WORKS.iter().any(|work| work.name == name)
}
