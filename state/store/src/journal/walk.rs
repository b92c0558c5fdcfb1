//! Reading the journal from its first line as far as it holds, in memory that does not grow with it.

use super::line::{self, Line};
use super::{JournalError, LINE_BYTES_MAX, Memory, Storage};
use crate::disk::{Access, Folder, RealFolder};
use holdfast_core::checksum::Checksum;
use std::io;
use std::path::Path;

/// How far the journal holds.
pub(super) struct Walked {
    pub(super) memory: Memory,
    pub(super) last: [u8; 32],
    /// Bytes that hold.
    pub(super) good: u64,
}

/// Every line; beside it the bytes of a torn last one.
pub(super) fn walk<S: Storage>(storage: &S, path: &Path) -> Result<(Walked, Option<Vec<u8>>), JournalError> {
    let broken = |at, why: String| JournalError::Broken { path: path.to_owned(), at, why };
    let io = |what| move |source| JournalError::Io { path: path.to_owned(), what, source };
    let size = storage.size().map_err(io("measure it"))?;
    let mut walked = Walked { memory: Memory::default(), last: [0; 32], good: 0 };
    let mut window = Vec::new();
    while walked.good < size {
        let at = walked.good;
        let (line, whole) = line_at(storage, at, size, &mut window).map_err(io("read it"))?;
        let ends = at.saturating_add(line.len() as u64) >= size;
        // A JSON line holds no NUL; a disk that lost power leaves them where a sector was never written.
        if ends && (!whole || line.contains(&0)) {
            return Ok((walked, Some(line.to_vec())));
        }
        if !whole {
            return Err(broken(at, format!("no end of line within {LINE_BYTES_MAX} bytes")));
        }
        let Line { seq, prev, sum, entry } = line::decode(line).map_err(|why| broken(at, why))?;
        if prev != walked.last || seq != walked.memory.entries().saturating_add(1) {
            return Err(broken(at, format!("entry {seq} does not follow the line before it")));
        }
        walked.memory.apply(&entry);
        (walked.last, walked.good) = (sum, at.saturating_add(line.len() as u64));
    }
    Ok((walked, None))
}

/// The bytes from `at` up to and including the end of the line, and whether that end was found.
fn line_at<'w, S: Storage>(storage: &S, at: u64, size: u64, window: &'w mut Vec<u8>) -> io::Result<(&'w [u8], bool)> {
    let most = usize::try_from(size.saturating_sub(at)).unwrap_or(usize::MAX).min(LINE_BYTES_MAX);
    window.resize(most, 0);
    let mut filled = 0;
    while filled < most {
        let from = at.saturating_add(filled as u64);
        // Lines are a few hundred bytes: most of the time the first kilobyte is enough.
        let until = most.min(filled + 1024);
        match storage.read_at(&mut window[filled..until], from) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                let found = window[filled..filled + n].iter().position(|b| *b == b'\n');
                if let Some(end) = found {
                    return Ok((&window[..=filled + end], true));
                }
                filled += n;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok((&window[..], false))
}

/// What an audit of a journal found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Entries that hold.
    pub entries: u64,
    /// Checksum of the last of them.
    pub head: Option<Checksum>,
    /// Intents whose outcome is not known.
    pub unsettled: usize,
    /// Where an unfinished last line begins. The next opening cuts it and says so.
    pub torn_at: Option<u64>,
}

/// Looks again at a last line that is unfinished: its writer may be at work.
const LIVE_TRIES: u32 = 3;

/// Verifies a journal without opening it for writing, beside its writer if there is one.
///
/// # Errors
/// [`JournalError::Io`], and [`JournalError::Broken`] at the first line that does not hold.
pub fn verify(path: &Path) -> Result<Audit, JournalError> {
    let io = |source| JournalError::Io { path: path.to_owned(), what: "open it", source };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| io(io::ErrorKind::InvalidInput.into()))?;
    let file = RealFolder::existing(parent).and_then(|folder| folder.open(name, Access::Read)).map_err(io)?;
    let mut tries = LIVE_TRIES;
    loop {
        let (walked, torn) = walk(&file, path)?;
        if torn.is_some() && tries > 0 {
            tries -= 1;
            continue;
        }
        let entries = walked.memory.entries();
        return Ok(Audit {
            entries,
            head: (entries > 0).then_some(Checksum(walked.last)),
            unsettled: walked.memory.unsettled().count(),
            torn_at: torn.map(|_| walked.good),
        });
    }
}
