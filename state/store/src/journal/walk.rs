//! Reading a journal without opening it for writing: every line verified in order, in bounded memory.

use super::line::{self, Line};
use super::{JournalError, LINE_BYTES_MAX};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// How far a chain of lines goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Lines.
    pub count: u64,
    /// Checksum of the last one; zeros for none.
    pub last: [u8; 32],
}

/// Verifies a whole journal that nobody writes; a torn last line is no end here.
///
/// # Errors
/// [`JournalError::Broken`] names the byte where the first bad line begins.
pub fn walk(path: &Path) -> Result<Walked, JournalError> {
    let io = |source| JournalError::Io { path: path.to_owned(), what: "read it", source };
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let (mut walked, mut at, mut bytes) = (Walked::default(), 0_u64, Vec::new());
    loop {
        bytes.clear();
        let most = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        if file.by_ref().take(most).read_until(b'\n', &mut bytes).map_err(io)? == 0 {
            return Ok(walked);
        }
        let broken = |why: String| JournalError::Broken { path: path.to_owned(), at, why };
        let Line { seq, prev, sum, .. } = line::decode(&bytes).map_err(broken)?;
        if prev != walked.last || seq != walked.count.saturating_add(1) {
            return Err(broken(format!("entry {seq} does not follow the line before it")));
        }
        walked = Walked { count: seq, last: sum };
        at = at.saturating_add(bytes.len() as u64);
    }
}
