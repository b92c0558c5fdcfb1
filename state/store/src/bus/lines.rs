//! The lines of one file, streamed through one buffer of fixed size.

use super::event::LINE_BYTES_MAX;
use crate::disk::{Storage, read_full};
use std::io;

/// Bytes read at once.
const CHUNK: usize = 128 * 1024;

/// What comes next in a file.
#[derive(Debug)]
pub(super) enum Next<'b> {
    /// A line without its newline, at its offset.
    Line(u64, &'b [u8]),
    /// Bytes without a newline up to the end of the file, or more than a line may have.
    Rest(u64, &'b [u8]),
    /// Nothing but padding, or nothing at all.
    End,
}

/// A reader of lines.
#[derive(Debug)]
pub(super) struct Lines<'s, S> {
    file: &'s S,
    /// Offset of the next byte to read into the buffer.
    read_at: u64,
    /// No byte from here on is read.
    until: u64,
    buffer: Vec<u8>,
    from: usize,
    filled: usize,
}

impl<'s, S: Storage> Lines<'s, S> {
    /// From an offset up to another, or the end of the file.
    pub(super) fn of(file: &'s S, at: u64, until: u64) -> Self {
        Self { file, read_at: at, until, buffer: Vec::new(), from: 0, filled: 0 }
    }

    /// Offset of what comes next.
    pub(super) fn at(&self) -> u64 {
        self.read_at.saturating_sub((self.filled - self.from) as u64)
    }

    /// The next line.
    pub(super) fn next(&mut self) -> io::Result<Next<'_>> {
        let mut searched = 0;
        loop {
            let at = self.at();
            let held = &self.buffer[self.from..self.filled];
            if let Some(length) = memchr::memchr(b'\n', &held[searched..]).map(|n| n + searched) {
                if held.first().is_some_and(|b| matches!(b, b' ' | b'\n')) && self.only_padding()? {
                    return Ok(Next::End);
                }
                let start = self.from;
                self.from += length + 1;
                return Ok(Next::Line(at, &self.buffer[start..start + length]));
            }
            searched = held.len();
            if searched > LINE_BYTES_MAX {
                if held.first() == Some(&b' ') && self.only_padding()? {
                    return Ok(Next::End);
                }
                return Ok(Next::Rest(at, &self.buffer[self.from..self.filled]));
            }
            if self.fill()? == 0 {
                let held = &self.buffer[self.from..self.filled];
                let blank = held.iter().all(|b| *b == b' ');
                return Ok(if blank { Next::End } else { Next::Rest(at, held) });
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.copy_within(self.from..self.filled, 0);
        self.filled -= self.from;
        self.from = 0;
        let room = self.filled + CHUNK;
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        let most = usize::try_from(self.until.saturating_sub(self.read_at)).unwrap_or(usize::MAX).min(CHUNK);
        let got = read_full(self.file, &mut self.buffer[self.filled..self.filled + most], self.read_at)?;
        self.filled += got;
        self.read_at = self.read_at.saturating_add(got as u64);
        Ok(got)
    }

    /// Whether nothing but spaces and newlines is left.
    fn only_padding(&self) -> io::Result<bool> {
        let blank = |bytes: &[u8]| bytes.iter().all(|b| matches!(b, b' ' | b'\n'));
        if !blank(&self.buffer[self.from..self.filled]) {
            return Ok(false);
        }
        Ok(content_end(self.file, self.read_at, self.until)? == self.read_at)
    }
}

/// Where the last byte that is no padding ends, looking at nothing before `from`.
pub(super) fn content_end<S: Storage>(file: &S, from: u64, until: u64) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK];
    let (mut at, mut end) = (from, from);
    loop {
        let most = usize::try_from(until.saturating_sub(at)).unwrap_or(usize::MAX).min(CHUNK);
        let got = read_full(file, &mut chunk[..most], at)?;
        if got == 0 {
            return Ok(end);
        }
        if let Some(last) = chunk[..got].iter().rposition(|b| !matches!(b, b' ' | b'\n')) {
            end = at.saturating_add(last as u64 + 1);
        }
        at = at.saturating_add(got as u64);
    }
}
