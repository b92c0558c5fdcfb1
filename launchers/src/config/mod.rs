//! The configuration: reading it strictly, laying flags over it, and saying where each value came from.
//!
//! A file that cannot be read whole, was writable by others, or says one thing we do not know is refused: no part of it
//! is used and no default takes its place.

pub(crate) mod command;
mod show;

use crate::cli::MarketArgs;
use crate::error::{Fault, Trouble};
use crate::home::owned;
use holdfast_core::registry::Profile;
use holdfast_ipc::bootstrap::Home;
use holdfast_ipc::settings::Settings;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Largest configuration file read.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// The configuration in force.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The file's path, whether or not it exists.
    pub(crate) path: PathBuf,
    /// It exists.
    pub(crate) from_file: bool,
    /// Its text, parsed loosely: only to tell which keys it sets.
    pub(crate) table: toml::Table,
    /// What is in force, flags included.
    pub(crate) settings: Settings,
    /// The flags.
    pub(crate) flags: MarketArgs,
}

/// Reads the home's configuration and lays the flags over it. An absent file means the defaults.
pub(crate) fn load(home: &Home, flags: &MarketArgs) -> Result<Loaded, Trouble> {
    let path = home.config();
    let text = read(&path)?;
    let (mut settings, table) = match &text {
        Some(text) => parse(&path, text)?,
        None => (Settings::default(), toml::Table::new()),
    };
    // A relative market in the file is meant from the file's folder; one on the command line from where one stands.
    settings.paper.market = settings.paper.market.map(|market| home.root().join(market));
    if let Some(market) = &flags.market {
        let market = std::path::absolute(market).map_err(|source| Trouble::Home {
            what: "find",
            path: market.clone(),
            source,
        })?;
        settings.paper.market = Some(market);
    }
    settings.paper.speed = flags.speed.or(settings.paper.speed);
    settings.paper.seed = flags.seed.unwrap_or(settings.paper.seed);
    if let Some(coin) = &flags.coin {
        settings.strategy.coin.clone_from(coin);
    }
    // The live profile is refused as a whole, in plain words: asking for its section first would say it could be had.
    let moot = |key: &str| key == "live" && settings.profile == Profile::Live;
    let at = |key: &str| text.as_deref().and_then(|text| locate(text, key));
    let objections = settings.check().err().unwrap_or_default();
    let faults: Vec<Fault> = objections
        .into_iter()
        .filter(|o| !moot(&o.key))
        .map(|o| Fault { at: at(&o.key), key: o.key, why: o.why })
        .collect();
    if !faults.is_empty() {
        return Err(Trouble::Config { path, faults });
    }
    Ok(Loaded { path, from_file: text.is_some(), table, settings, flags: flags.clone() })
}

/// This version runs the paper profile only, and says so before anything is touched.
pub(crate) fn runnable(settings: &Settings) -> Result<(), Trouble> {
    match settings.profile {
        Profile::Paper => Ok(()),
        Profile::Live | Profile::Monitor => Err(Trouble::Profile { profile: settings.profile.as_str() }),
    }
}

fn read(path: &Path) -> Result<Option<String>, Trouble> {
    let fail = |source| Trouble::Home { what: "read", path: path.into(), source };
    let refuse =
        |why: String| Trouble::Config { path: path.into(), faults: vec![Fault { key: String::new(), at: None, why }] };
    // Opening a pipe would wait for its writer; only a plain file is a configuration.
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => return Err(refuse("it is not a plain file".to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            // A link that leads nowhere is a configuration that is missing, not an absent one.
            return if path.is_symlink() { Err(fail(e)) } else { Ok(None) };
        }
        Err(e) => return Err(fail(e)),
    }
    let file = File::open(path).map_err(fail)?;
    let meta = file.metadata().map_err(fail)?;
    owned(path, &meta)?;
    if meta.mode() & 0o022 != 0 {
        let why = format!("mode {:04o} lets others write it", meta.mode() & 0o7777);
        return Err(Trouble::Exposed { path: path.into(), why, want: 0o600 });
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(refuse(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map(Some).map_err(|e| refuse(format!("it is not UTF-8 text: {e}")))
}

fn parse(path: &Path, text: &str) -> Result<(Settings, toml::Table), Trouble> {
    let refuse = |key: String, error: &toml::de::Error| {
        let at = error.span().map(|span| place(text, span.start));
        let why = error.message().replace('\n', ", ");
        Trouble::Config { path: path.into(), faults: vec![Fault { key, at, why }] }
    };
    let document = toml::Deserializer::parse(text).map_err(|e| refuse(String::new(), &e))?;
    let settings: Settings = serde_path_to_error::deserialize(document).map_err(|e| {
        let key = e.path().to_string();
        refuse(if key == "." { String::new() } else { key }, e.inner())
    })?;
    let table = text.parse().map_err(|e| refuse(String::new(), &e))?;
    Ok((settings, table))
}

/// Line and column, both from 1, of a byte of the text.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Where the file sets this key, if it does so in the usual form (`[section]` and `key = …`).
fn locate(text: &str, key: &str) -> Option<(usize, usize)> {
    let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
    let mut current = String::new();
    for (number, line) in text.lines().enumerate() {
        let bare = line.trim_start();
        if let Some(header) = bare.strip_prefix('[') {
            header.split(']').next().unwrap_or_default().trim().clone_into(&mut current);
        } else if current == section && bare.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('=')) {
            return Some((number + 1, line.len() - bare.len() + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_from_one_and_by_character() {
        assert_eq!(place("abc", 0), (1, 1));
        assert_eq!(place("é = 1\nx = 2", 7), (2, 1));
        assert_eq!(place("é = 1\nx = 2", 3), (1, 3));
    }

    #[test]
    fn keys_are_found_in_their_section_only() {
        let text = "seed = 1\n[paper]\n  seed = 2\n[strategy]\nseedling = 3\n";
        assert_eq!(locate(text, "paper.seed"), Some((3, 3)));
        assert_eq!(locate(text, "seed"), Some((1, 1)));
        assert_eq!(locate(text, "strategy.seed"), None);
    }
}
