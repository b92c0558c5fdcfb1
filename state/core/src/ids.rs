//! Names of things that cross a process boundary: roles, epochs, generations, jobs.

use core::fmt;
use serde::{Deserialize, Serialize};

/// The five workers of the tree, in start order (stopping runs the other way).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The loopback exchange; only in the paper profile.
    Venue,
    /// The dead-man heartbeat; its code can only reduce risk.
    Deadman,
    /// Reads the market and the account; holds no key.
    Sensor,
    /// HTTP API and cockpit; holds no key.
    Api,
    /// Decides and trades; the only process whose code can open risk.
    Engine,
}

impl Role {
    /// Every role, in start order.
    pub const ALL: [Self; 5] = [Self::Venue, Self::Deadman, Self::Sensor, Self::Api, Self::Engine];

    /// The word used on the command line, in JSON, in file names and in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Venue => "venue",
            Self::Deadman => "deadman",
            Self::Sensor => "sensor",
            Self::Api => "api",
            Self::Engine => "engine",
        }
    }

    /// The role with this name, if there is one.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }

    /// Position in [`Role::ALL`], for tables indexed by role.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Venue => 0,
            Self::Deadman => 1,
            Self::Sensor => 2,
            Self::Api => 3,
            Self::Engine => 4,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Fencing number of a supervisor incarnation or permit series. Written to disk before it is used; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The next epoch.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Which start of a worker this is within one supervisor incarnation, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u32);

/// One attempt to make the account flat. A repeated kill or flatten is a new job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub u64);

impl JobId {
    /// What deadman begins by itself, without an order of a supervisor. No order ever has this number.
    pub const OWN: Self = Self(0);
}
