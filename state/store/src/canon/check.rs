//! Whether bytes are canonical JSON, told from the bytes alone: no tree, no allocation that grows with them.

use super::{DEPTH_MAX, float};
use std::cmp::Ordering;
use std::ops::Range;
use thiserror::Error;

/// Where and how bytes leave the canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("byte {byte}: {what}")]
pub struct FormError {
    /// Offset of the first byte that does not fit.
    pub byte: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// Checks that the bytes are exactly one value in canonical form: grammar, sorted and unique keys, number forms, escapes.
///
/// # Errors
/// [`FormError`] with the first place that is not canonical.
pub fn is_canonical(text: &[u8]) -> Result<(), FormError> {
    let mut check = Check { text, at: 0, scratch: Vec::with_capacity(32) };
    check.value(0)?;
    if check.at == text.len() { Ok(()) } else { check.wrong("text after the value") }
}

/// Bytes that stand for themselves in a string.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        plain[byte as usize] = !matches!(byte, b'"' | b'\\');
        byte += 1;
    }
    plain
};

/// A string's place.
struct Key {
    span: Range<usize>,
    escaped: bool,
}

struct Check<'t> {
    text: &'t [u8],
    at: usize,
    scratch: Vec<u8>,
}

impl Check<'_> {
    fn wrong<T>(&self, what: &'static str) -> Result<T, FormError> {
        Err(FormError { byte: self.at, what })
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8, what: &'static str) -> Result<(), FormError> {
        if self.peek() != Some(byte) {
            return self.wrong(what);
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<(), FormError> {
        if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            return Ok(());
        }
        self.wrong("no value")
    }

    fn value(&mut self, depth: usize) -> Result<(), FormError> {
        match self.peek() {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => self.string().map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            Some(b' ' | b'\t' | b'\r' | b'\n') => self.wrong("white space"),
            _ => self.wrong("no value"),
        }
    }

    /// Order of two keys by the code points they stand for.
    fn order(&self, a: &Key, b: &Key) -> Ordering {
        let [one, other] = [a, b].map(|key| self.text.get(key.span.clone()).unwrap_or_default());
        if a.escaped || b.escaped {
            return Points { text: one, at: 0 }.cmp(Points { text: other, at: 0 });
        }
        one.cmp(other)
    }

    fn array(&mut self, depth: usize) -> Result<(), FormError> {
        if depth > DEPTH_MAX {
            return self.wrong("nested too deep");
        }
        self.at += 1;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(depth)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return self.wrong("neither a comma nor the end of the array"),
            }
        }
        self.at += 1;
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<(), FormError> {
        if depth > DEPTH_MAX {
            return self.wrong("nested too deep");
        }
        self.at += 1;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        let mut before: Option<Key> = None;
        loop {
            let start = self.at;
            if self.peek() != Some(b'"') {
                return self.wrong("no key");
            }
            let key = self.string()?;
            if let Some(before) = before {
                let order = self.order(&before, &key);
                let what = match order {
                    Ordering::Less => None,
                    Ordering::Equal => Some("the key stands twice"),
                    Ordering::Greater => Some("the key is out of order"),
                };
                if let Some(what) = what {
                    return Err(FormError { byte: start, what });
                }
            }
            before = Some(key);
            self.eat(b':', "no colon after the key")?;
            self.value(depth)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return self.wrong("neither a comma nor the end of the object"),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// What stands between the quotes.
    fn string(&mut self) -> Result<Key, FormError> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            self.at += rest.iter().position(|b| !PLAIN[usize::from(*b)]).unwrap_or(rest.len());
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return self.wrong("a byte that must be escaped"),
                None => return self.wrong("a string without end"),
            }
        }
        let span = start..self.at;
        self.at += 1;
        Ok(Key { span, escaped })
    }

    fn escape(&mut self) -> Result<(), FormError> {
        match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'b' | b't' | b'n' | b'f' | b'r') => {
                self.at += 2;
                return Ok(());
            }
            Some(b'u') => {}
            _ => return self.wrong("no canonical escape"),
        }
        let Some(unit) = unit(self.text, self.at) else { return self.wrong("no canonical escape") };
        match unit {
            0x08..=0x0a | 0x0c | 0x0d | 0x20..=0x7e => return self.wrong("has a shorter form"),
            0xd800..=0xdbff => {
                if !matches!(self::unit(self.text, self.at + 6), Some(0xdc00..=0xdfff)) {
                    return self.wrong("a lone surrogate");
                }
                self.at += 6;
            }
            0xdc00..=0xdfff => return self.wrong("a lone surrogate"),
            _ => {}
        }
        self.at += 6;
        Ok(())
    }

    fn number(&mut self) -> Result<(), FormError> {
        let start = self.at;
        let length = self.text[start..]
            .iter()
            .position(|b| !matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .unwrap_or(self.text.len() - start);
        let token = &self.text[start..start + length];
        let digits = token.strip_prefix(b"-").unwrap_or(token);
        if digits.iter().all(u8::is_ascii_digit) {
            let good = match digits {
                [] => false,
                // Zero has no sign as an integer.
                [b'0'] => token.len() == 1,
                [first, ..] => *first != b'0',
            };
            if !good {
                return self.wrong("no canonical integer");
            }
        } else {
            let value: Option<f64> = std::str::from_utf8(token).ok().and_then(|text| text.parse().ok());
            self.scratch.clear();
            let finite = value.is_some_and(|value| float::write(&mut self.scratch, value).is_ok());
            if !finite || self.scratch != token {
                return self.wrong("no canonical float");
            }
        }
        self.at = start + length;
        Ok(())
    }
}

/// The code unit of a lower-case `\uXXXX`.
fn unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0_u16, |sum, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(sum << 4 | u16::from(value))
    })
}

/// Code points of a string that was already found canonical.
struct Points<'t> {
    text: &'t [u8],
    at: usize,
}

impl Iterator for Points<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let byte = *self.text.get(self.at)?;
        if byte != b'\\' {
            self.at += 1;
            return Some(u32::from(byte));
        }
        let short = match self.text.get(self.at + 1)? {
            b'b' => 0x08,
            b't' => 0x09,
            b'n' => 0x0a,
            b'f' => 0x0c,
            b'r' => 0x0d,
            b'u' => {
                let high = u32::from(unit(self.text, self.at)?);
                self.at += 6;
                if !(0xd800..0xdc00).contains(&high) {
                    return Some(high);
                }
                let low = u32::from(unit(self.text, self.at)?);
                self.at += 6;
                return Some(0x1_0000 + ((high - 0xd800) << 10) + (low.wrapping_sub(0xdc00) & 0x3ff));
            }
            byte => u32::from(*byte),
        };
        self.at += 2;
        Some(short)
    }
}
