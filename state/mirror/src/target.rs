//! Where the database is. The address holds a password, so it comes from a file and is never shown.

use crate::error::MirrorError;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// A database on this host.
#[derive(Clone)]
pub struct Target(pub(crate) Config);

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Target(..)")
    }
}

impl std::str::FromStr for Target {
    type Err = MirrorError;

    /// Reads `postgres://user:password@host/database` or `key=value` words. Only a Unix socket or a loopback address is
    /// taken: what lies further away is reached through a tunnel that encrypts.
    fn from_str(text: &str) -> Result<Self, MirrorError> {
        // The parser's own words may repeat a part of the address.
        let mut config: Config =
            text.trim().parse().map_err(|_| MirrorError::Target("it cannot be read".to_owned()))?;
        let hosts = config.get_hosts();
        if hosts.is_empty() && config.get_hostaddrs().is_empty() {
            return Err(MirrorError::Target("it names no host".to_owned()));
        }
        let near = |host: &Host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        };
        if !hosts.iter().all(near) || !config.get_hostaddrs().iter().all(IpAddr::is_loopback) {
            return Err(MirrorError::Target(
                "only a Unix socket or a loopback address is taken; use a tunnel".to_owned(),
            ));
        }
        config.connect_timeout(Duration::from_secs(5)).application_name("holdfast-mirror");
        Ok(Self(config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_and_never_shown() {
        for (text, good) in [
            ("postgres://u:secret@localhost/db", true),
            ("postgres://u:secret@127.0.0.1:5433/db", true),
            ("postgres://u:secret@[::1]/db", true),
            ("host=/run/postgresql user=u dbname=db", true),
            ("postgres://u:secret@db.example.org/db", false),
            ("postgres://u:secret@10.0.0.1/db", false),
            ("host=localhost,db.example.org user=u", false),
            ("host=localhost hostaddr=10.0.0.1 user=u", false),
            ("user=u", false),
            ("postgres://u:secret@localhost:port/db", false),
            ("", false),
        ] {
            let target = text.parse::<Target>();
            assert_eq!(target.is_ok(), good, "{text}");
            assert!(!format!("{target:?}").contains("secret"), "{text}");
        }
    }
}
