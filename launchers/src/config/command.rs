//! `engine config check|show|init`.

use super::show::ConfigDoc;
use crate::cli::{ConfigCommand, MarketArgs};
use crate::error::Trouble;
use crate::out::Out;
use crate::{account, home, preflight};
use holdfast_ipc::bootstrap::Home;
use serde::Serialize;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

/// What `config init` writes.
const DEFAULTS: &str = include_str!("default.toml");

/// The JSON form of `check` and `init`.
#[derive(Serialize)]
struct Checked<'a> {
    schema: &'static str,
    path: &'a str,
    from_file: bool,
    profile: &'a str,
    ok: bool,
}

/// Runs one of them.
pub(crate) fn run(out: Out, home: &Home, command: &ConfigCommand) -> Result<u8, Trouble> {
    match command {
        ConfigCommand::Check(flags) => check(out, home, flags),
        ConfigCommand::Show(flags) => {
            let doc = ConfigDoc::new(&super::load(home, flags)?);
            out.doc(&doc);
            out.line(doc.text().trim_end());
            Ok(0)
        }
        ConfigCommand::Init => init(out, home),
    }
}

fn check(out: Out, home: &Home, flags: &MarketArgs) -> Result<u8, Trouble> {
    let mut loaded = super::load(home, flags)?;
    super::runnable(&loaded.settings)?;
    for key in [home.engine_key(), home.deadman_key()] {
        home::check_key(&key)?;
    }
    account::distinct(home)?;
    preflight::market(&mut loaded)?;
    let path = loaded.path.display().to_string();
    let profile = loaded.settings.profile.as_str();
    out.doc(&Checked {
        schema: "holdfast.config_check.v1",
        path: &path,
        from_file: loaded.from_file,
        profile,
        ok: true,
    });
    let what = if loaded.from_file { "is accepted" } else { "does not exist: the paper defaults are in force" };
    out.line(&format!("{path} {what} (profile {profile})"));
    Ok(0)
}

fn init(out: Out, home: &Home) -> Result<u8, Trouble> {
    home::private_umask();
    let path = home.config();
    let fail = |source| Trouble::Home { what: "write", path: path.clone(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(home.root()).map_err(fail)?;
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::AlreadyExists => return Err(Trouble::Exists { path }),
        Err(e) => return Err(fail(e)),
    };
    if let Err(e) = file.write_all(DEFAULTS.as_bytes()).and_then(|()| file.sync_all()) {
        // Ours from a moment ago, and not whole: an empty file would be read as a configuration.
        let _ = std::fs::remove_file(&path);
        return Err(fail(e));
    }
    let shown = path.display().to_string();
    out.doc(&Checked { schema: "holdfast.config_check.v1", path: &shown, from_file: true, profile: "paper", ok: true });
    out.line(&format!("wrote {shown}; every line in it is a default, commented out"));
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::DEFAULTS;
    use holdfast_ipc::settings::Settings;

    /// Keys whose default is "absent": the file shows an example value.
    const EXAMPLES: [&str; 5] = ["port = 8765", "port = 8766", "market = ", "speed = 60", "operator_hours = 24"];

    #[test]
    fn the_commented_file_says_what_the_code_does() {
        assert_eq!(toml::from_str::<Settings>(DEFAULTS).unwrap(), Settings::default());
        let live: String = DEFAULTS
            .lines()
            .filter(|line| !EXAMPLES.iter().any(|e| line.contains(e)))
            .map(|line| match line.strip_prefix("# ") {
                Some(key) if key.split_once(" = ").is_some_and(|(k, _)| !k.contains(' ')) => format!("{key}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        assert_eq!(toml::from_str::<Settings>(&live).unwrap(), Settings::default());
        // Every key of the structure is mentioned.
        let all = toml::Table::try_from(Settings::default()).unwrap();
        for (section, value) in &all {
            let keys: Vec<String> =
                value.as_table().map_or_else(|| vec![section.clone()], |t| t.keys().cloned().collect());
            for key in keys {
                assert!(live.contains(&format!("{key} = ")), "{section}.{key} is not in the default file");
            }
        }
    }
}
