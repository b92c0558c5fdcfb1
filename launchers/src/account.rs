//! The paper account: keys made once, and the registration the paper venue reads.
//!
//! Two starts at the same time end up with the same keys: a key file appears whole under its name or not at all, and
//! what was there first stays. Nothing existing is ever replaced but the list of agents, which follows the key files.

use crate::error::Trouble;
use crate::home::check_key;
use holdfast_core::money::Usd;
use holdfast_ipc::bootstrap::Home;
use holdfast_ipc::settings::Settings;
use holdfast_venue_reduce::sign::{AgentKey, KeyError};
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Largest registration read.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// `venue/account.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registration {
    account: String,
    agents: Agents,
    start_usd: Usd,
}

/// Addresses of the agent keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Agents {
    engine: String,
    deadman: String,
}

/// Makes what is missing and gives the account's address.
pub(crate) fn prepare(home: &Home, settings: &Settings) -> Result<String, Trouble> {
    let agents = Agents { engine: key(&home.engine_key())?, deadman: key(&home.deadman_key())? };
    if agents.engine == agents.deadman {
        return Err(same(home));
    }
    let path = home.venue_account();
    let known = read(&path)?;
    let account = match &known {
        Some(known) => known.account.clone(),
        // The master's key stays here so that any client of the venue's protocol can sign as the owner.
        None => key(&home.keys().join("account.key"))?,
    };
    let start_usd = known.as_ref().map_or(settings.paper.start_usd, |k| k.start_usd);
    let wanted = Registration { account, agents, start_usd };
    if known.as_ref() != Some(&wanted) {
        write(&path, &wanted)?;
    }
    Ok(wanted.account)
}

/// The account's address as registered here; `None` when there is no registration that can be read.
pub(crate) fn known(home: &Home) -> Option<String> {
    read(&home.venue_account()).ok().flatten().map(|known| known.account)
}

/// How the key files here fit the registration.
#[derive(Debug, Default)]
pub(crate) struct KeysHere {
    /// Files that are not there.
    pub(crate) missing: Vec<&'static str>,
    /// Files that hold another key than the registered one.
    pub(crate) strangers: Vec<&'static str>,
}

/// Looks at the key files; makes nothing.
pub(crate) fn keys_here(home: &Home) -> Result<KeysHere, Trouble> {
    let known = read(&home.venue_account())?;
    let mut here = KeysHere::default();
    let registered = known.as_ref();
    for (name, path, address) in [
        ("account.key", home.keys().join("account.key"), registered.map(|known| &known.account)),
        ("engine.key", home.engine_key(), registered.map(|known| &known.agents.engine)),
        ("deadman.key", home.deadman_key(), registered.map(|known| &known.agents.deadman)),
    ] {
        if !path.exists() {
            here.missing.push(name);
        } else if address != Some(&load(&path)?) {
            here.strangers.push(name);
        }
    }
    Ok(here)
}

/// Refuses one key in both places: the two share one set of nonces at the venue then, and an engine that runs wild
/// could make deadman's closing orders invalid. Absent keys are fine; nothing is made.
pub(crate) fn distinct(home: &Home) -> Result<(), Trouble> {
    if !home.engine_key().exists() || !home.deadman_key().exists() {
        return Ok(());
    }
    if load(&home.engine_key())? == load(&home.deadman_key())? { Err(same(home)) } else { Ok(()) }
}

fn same(home: &Home) -> Trouble {
    Trouble::SameKey { engine: home.engine_key(), deadman: home.deadman_key() }
}

/// The address of the key in this file; a new key when there is no file.
fn key(path: &Path) -> Result<String, Trouble> {
    check_key(path)?;
    if !path.exists() {
        let unusable = |e: KeyError| Trouble::Account { path: path.into(), why: e.to_string() };
        let draft = draft(path);
        let _ = fs::remove_file(&draft);
        AgentKey::generate().and_then(|key| key.save_new(&draft)).map_err(unusable)?;
        // Linking fails when another start was first; its key is the one then.
        let linked = fs::hard_link(&draft, path);
        let _ = fs::remove_file(&draft);
        match linked {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => {
                return Err(Trouble::Home { what: "write", path: path.into(), source: e });
            }
            Ok(()) | Err(_) => {}
        }
    }
    load(path)
}

/// The address of the key in this file.
fn load(path: &Path) -> Result<String, Trouble> {
    check_key(path)?;
    let key = AgentKey::load(path).map_err(|e| match e {
        KeyError::Io(source) => Trouble::Home { what: "read", path: path.into(), source },
        other
        @ (KeyError::NotAFile | KeyError::Mode(_) | KeyError::Owner(_) | KeyError::Content | KeyError::Random) => {
            Trouble::Exposed { path: path.into(), why: other.to_string(), want: 0o600 }
        }
    })?;
    Ok(key.address().to_string())
}

fn read(path: &Path) -> Result<Option<Registration>, Trouble> {
    let unusable = |why: String| Trouble::Account { path: path.into(), why };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unusable(e.to_string())),
    };
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(|e| unusable(e.to_string()))?;
    serde_json::from_slice(&text).map(Some).map_err(|e| unusable(e.to_string()))
}

fn write(path: &Path, registration: &Registration) -> Result<(), Trouble> {
    let fail = |source| Trouble::Home { what: "write", path: path.into(), source };
    let text = serde_json::to_vec(registration).map_err(|e| fail(e.into()))?;
    let draft = draft(path);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft).map_err(fail)?;
    let written = file.write_all(&text).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written.map_err(fail)
}

/// A name of this process's own beside the file.
fn draft(path: &Path) -> PathBuf {
    path.with_extension(format!("new-{}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn keys_are_made_once_and_the_registration_follows_them() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("h"));
        crate::home::prepare(&home).unwrap();
        let settings = Settings::default();
        let account = prepare(&home, &settings).unwrap();
        assert_eq!(account.len(), 42);
        for file in ["engine.key", "deadman.key", "account.key"] {
            assert_eq!(fs::metadata(home.keys().join(file)).unwrap().mode() & 0o777, 0o600, "{file}");
        }
        let first = read(&home.venue_account()).unwrap().unwrap();
        assert_eq!(prepare(&home, &settings).unwrap(), account);
        assert_eq!(read(&home.venue_account()).unwrap().unwrap(), first);
        // A replaced agent key is registered; account and opening balance stay.
        fs::remove_file(home.engine_key()).unwrap();
        let mut richer = settings;
        richer.paper.start_usd = Usd::whole(77);
        assert_eq!(prepare(&home, &richer).unwrap(), account);
        let second = read(&home.venue_account()).unwrap().unwrap();
        assert_ne!(second.agents.engine, first.agents.engine);
        assert_eq!((&second.agents.deadman, second.start_usd), (&first.agents.deadman, first.start_usd));
        // A key others can read is refused, and so is a damaged registration.
        fs::set_permissions(home.engine_key(), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(prepare(&home, &settings_of()), Err(Trouble::Exposed { want: 0o600, .. })));
        fs::set_permissions(home.engine_key(), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(home.venue_account(), b"{\"account\":").unwrap();
        assert!(matches!(prepare(&home, &settings_of()), Err(Trouble::Account { .. })));
    }

    fn settings_of() -> Settings {
        Settings::default()
    }
}
