//! Why a market could not be opened: one line that says what, and one line that says what to do next.
//!
//! Guarantees: every fault names the file and, where there is one, the line or entry; text taken from the file is cut
//! and stripped of control characters before it is shown, so a hostile file cannot paint the terminal.

use std::fmt;

/// Where in a file the fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of text, counted from 1.
    Line(usize),
    /// An element of a JSON array, counted from 1.
    Entry(usize),
    /// The file as a whole.
    Whole,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(n) => write!(f, "line {n}: "),
            Self::Entry(n) => write!(f, "entry {n}: "),
            Self::Whole => Ok(()),
        }
    }
}

/// What is wrong with a market file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The operating system would not give us its bytes.
    #[error("cannot be read: {detail}")]
    Unreadable {
        /// The system's own words.
        detail: String,
    },
    /// Bigger than we are willing to hold.
    #[error("is larger than {limit_mib} MiB{}", if *inflated { " once unpacked" } else { "" })]
    TooLarge {
        /// The limit that was passed, in MiB.
        limit_mib: u64,
        /// Whether the limit is on the unpacked bytes.
        inflated: bool,
    },
    /// Nothing in it, or a header and nothing below.
    #[error("is empty: {detail}")]
    Empty {
        /// What was missing.
        detail: &'static str,
    },
    /// Compressed data that ends early or does not check out.
    #[error("is damaged or cut off: {detail}")]
    Damaged {
        /// What failed.
        detail: String,
    },
    /// None of the shapes we know.
    #[error("holds no candles, trades or order books that are known here: {found}")]
    Unknown {
        /// What it looks like instead.
        found: String,
    },
    /// A known shape with something illegal in it.
    #[error("{at}expected {expected}, found {found}")]
    Bad {
        /// Where.
        at: Place,
        /// What should be there.
        expected: &'static str,
        /// What is there, cut to a few words.
        found: String,
    },
}

impl Fault {
    /// A fault in one row, with the offending text made safe to print.
    pub(super) fn bad(at: Place, expected: &'static str, found: &str) -> Self {
        Self::Bad { at, expected, found: quoted(found) }
    }

    /// A fault in one row that is told in our own words.
    pub(super) fn wrong(at: Place, expected: &'static str, found: &'static str) -> Self {
        Self::Bad { at, expected, found: found.to_string() }
    }
}

/// A path or a name for one line of text: no control characters.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Text from outside, in quotes, at most 60 characters, without control characters.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("'");
    let mut left = 60_u32;
    for c in text.trim().chars() {
        if left == 0 {
            out.push('…');
            break;
        }
        out.push(if c.is_control() { ' ' } else { c });
        left -= 1;
    }
    out.push('\'');
    out
}

/// A market that could not be opened. `Display` is the one line that says what; [`MarketError::advice`] the one line
/// that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("market file {file}: {fault}")]
pub struct MarketError {
    /// The file as the user named it.
    pub file: String,
    /// What is wrong with it.
    #[source]
    pub fault: Fault,
}

impl MarketError {
    /// What the owner can do about it, in one line.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match &self.fault {
            Fault::Unreadable { .. } => "check the path and its permissions; it must be an ordinary file",
            Fault::TooLarge { .. } => "cut it to the days you want to replay",
            Fault::Empty { .. } => "give a file with at least one row of data",
            Fault::Damaged { .. } => "fetch or pack the file again",
            Fault::Unknown { .. } => {
                "give candles (CSV with time,open,high,low,close), trades (CSV with time,price,size) or a recorded feed; without --market the bundled scenario runs"
            }
            Fault::Bad { .. } => "repair or remove that row and start again; nothing was started",
        }
    }
}
