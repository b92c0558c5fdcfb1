//! The witness: one line per received action and per fill, written before the answer is sent.
//!
//! A full disk must not stop the venue from answering cancels. Two things see to that: a ballast file is given up so that
//! the line in flight still fits, and from then on opening orders are refused until lines can be written again.

use crate::addr::{Addr, Cloid};
use holdfast_core::money::{Px, Sz, Szi};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Bytes kept in hand for the lines that arrive when the disk is full.
const BALLAST: usize = 64 * 1024;
/// No line is longer.
const MAX_LINE: u64 = 64 * 1024;

/// One line of `orders.jsonl`. Fields that do not apply are null.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// CLOCK_BOOTTIME.
    pub boot_ns: u64,
    /// Venue time.
    pub wall_ms: u64,
    /// Key that signed; null for what the venue did by itself.
    pub signer: Option<Addr>,
    /// Account it was for.
    pub account: Option<Addr>,
    /// `order`, `cancel`, `fill`, `dead_man_fired`, `fault`, …
    pub kind: String,
    /// Coin.
    pub coin: Option<String>,
    /// Dex of the coin.
    pub dex: Option<String>,
    /// Direction.
    pub is_buy: Option<bool>,
    /// Size asked for, or filled.
    pub sz: Option<Sz>,
    /// Limit price, or fill price.
    pub px: Option<Px>,
    /// Reduce-only flag.
    pub reduce_only: Option<bool>,
    /// Client order id.
    pub cloid: Option<Cloid>,
    /// Venue order id.
    pub oid: Option<u64>,
    /// The action's own expiry.
    pub expires_after: Option<u64>,
    /// What became of it.
    pub outcome: String,
    /// Size filled at once.
    pub filled_sz: Option<Sz>,
    /// Position in the coin before.
    pub position_before: Szi,
    /// Position in the coin after.
    pub position_after: Szi,
    /// Whether |position| grew or changed sign.
    pub increased_exposure: bool,
    /// `client`, `liquidation` or `injected`.
    pub origin: &'static str,
}

/// The file, its ballast, and what could not be written.
#[derive(Debug)]
pub struct Witness {
    file: Option<File>,
    path: PathBuf,
    ballast: PathBuf,
    has_ballast: bool,
    healthy: bool,
    lost: u64,
    written: u64,
}

impl Witness {
    /// Opens `DIR/orders.jsonl` for appending. Never fails: a witness that cannot write is unhealthy, and opening orders
    /// are refused while it is.
    #[must_use]
    pub fn open(dir: &Path) -> Self {
        let path = dir.join("orders.jsonl");
        let mut this = Self {
            file: None,
            path,
            ballast: dir.join("orders.ballast"),
            has_ballast: false,
            healthy: true,
            lost: 0,
            written: 0,
        };
        this.reopen();
        this.hold_ballast();
        this
    }

    fn reopen(&mut self) {
        // A line torn by a kill belongs to an action nobody was answered for; it is cut off so that every line can be read.
        let whole = cut_torn_line(&self.path);
        self.file = OpenOptions::new().create(true).append(true).open(&self.path).ok();
        self.healthy = self.file.is_some() && whole;
    }

    fn hold_ballast(&mut self) {
        self.has_ballast = std::fs::write(&self.ballast, vec![b' '; BALLAST]).is_ok();
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = self.file.as_mut().ok_or_else(|| io::Error::other("not open"))?;
        let before = file.metadata()?.len();
        file.write_all(bytes).inspect_err(|_| {
            // Half a line would make the next one unreadable.
            if file.set_len(before).is_err() {
                tracing::warn!("a torn witness line could not be removed");
            }
        })
    }

    /// Writes lines in order. On a full disk the ballast is given up once; what still cannot be written is counted.
    pub fn write(&mut self, lines: &[Line]) {
        if lines.is_empty() {
            return;
        }
        let mut bytes = Vec::new();
        for line in lines {
            if serde_json::to_writer(&mut bytes, line).is_err() {
                self.lost = self.lost.saturating_add(1);
            }
            bytes.push(b'\n');
        }
        let count = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        let mut done = self.append(&bytes).is_ok();
        if !done && self.has_ballast {
            self.has_ballast = std::fs::remove_file(&self.ballast).is_err();
            done = self.append(&bytes).is_ok();
            self.healthy = false;
        }
        if done {
            self.written = self.written.saturating_add(count);
        } else {
            self.healthy = false;
            self.lost = self.lost.saturating_add(count);
        }
    }

    /// Writes one byte and takes it back: an empty write would prove nothing.
    fn probe(&mut self) -> io::Result<()> {
        let file = self.file.as_mut().ok_or_else(|| io::Error::other("not open"))?;
        let before = file.metadata()?.len();
        file.write_all(b"\n")?;
        file.set_len(before)
    }

    /// Whether an opening order can be witnessed; while not, tries to get there again.
    pub fn ready(&mut self) -> bool {
        if self.healthy && self.has_ballast {
            return true;
        }
        if !self.has_ballast {
            self.hold_ballast();
        }
        if self.file.is_none() {
            self.reopen();
        }
        self.healthy = self.has_ballast && self.probe().is_ok();
        self.healthy
    }

    /// Lines that could not be written since the start.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Lines written since the start.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Whether the last write went through.
    #[must_use]
    pub const fn healthy(&self) -> bool {
        self.healthy
    }
}

/// Ends the file after its last whole line; false when that cannot be done.
fn cut_torn_line(path: &Path) -> bool {
    let cut = || -> io::Result<()> {
        let mut file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Ok(());
        }
        let from = meta.len().saturating_sub(MAX_LINE);
        file.seek(SeekFrom::Start(from))?;
        let mut tail = Vec::new();
        file.take(MAX_LINE).read_to_end(&mut tail)?;
        if tail.is_empty() || tail.last() == Some(&b'\n') {
            return Ok(());
        }
        let kept = tail.iter().rposition(|b| *b == b'\n').map_or(0, |at| at.saturating_add(1));
        let len = from.saturating_add(u64::try_from(kept).unwrap_or(0));
        OpenOptions::new().write(true).open(path)?.set_len(len)
    };
    cut().is_ok()
}
