//! A stored line taken apart where it lies: no parsing into values, no copy.
//!
//! Only the exact shape that the writer gives a line is recognised. Anything else is left to the slow reading, which says
//! what is wrong with it.

use super::event::SUM_BYTES;

const SCHEMA_MEMBER: &[u8; 41] = b",\"schema_version\":\"zero.runtime.event.v1\"";

/// The parts of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope<'l> {
    pub(super) as_of: f64,
    /// 64 digits.
    pub(super) sum: &'l [u8],
    /// Where its member begins; it is [`SUM_BYTES`] long.
    pub(super) sum_at: usize,
    /// Digits of the id.
    pub(super) id: &'l [u8],
    pub(super) index: u64,
    pub(super) event_type: &'l [u8],
    /// 64 digits.
    pub(super) previous: Option<&'l [u8]>,
}

impl<'l> Envelope<'l> {
    /// Takes a line without its newline apart; `None` if it has any other shape.
    pub(super) fn of(line: &'l [u8]) -> Option<Self> {
        let mut at = Cursor { line, at: 0 };
        at.skip(b"{\"as_of\":")?;
        let as_of = seconds(at.until(b',', 32)?)?;
        at.skip(b",")?;
        let sum_at = at.at;
        at.skip(b"\"checksum\":\"sha256:")?;
        let sum = at.take(64)?;
        at.skip(b"\",\"event_id\":\"evt-")?;
        debug_assert_eq!(at.at - sum_at, SUM_BYTES + "\"event_id\":\"evt-".len());
        // Nearly always twelve digits.
        let twelve = line.get(at.at + 12) == Some(&b'"');
        let id = if twelve { at.take(12)? } else { at.until(b'"', 24)? };
        at.skip(b"\",\"event_index\":")?;
        let index = decimal(at.until(b',', 24)?)?;
        at.skip(b",\"event_type\":\"")?;
        let type_at = at.at;
        at.at = string_end(line, type_at)?;
        let event_type = line.get(type_at..at.at - 1)?;
        if event_type.is_empty() || event_type.contains(&b'\\') {
            return None;
        }
        at.skip(b",\"payload\":")?;
        at.at = object_end(line, at.at)?;
        at.skip(b",\"previous_checksum\":")?;
        let previous = if at.skip(b"null").is_some() {
            None
        } else {
            at.skip(b"\"sha256:")?;
            let digits = at.take(64)?;
            at.skip(b"\"")?;
            Some(digits)
        };
        at.skip(SCHEMA_MEMBER)?;
        if at.skip(b",\"trace_id\":\"").is_some() {
            let end = string_end(line, at.at)?;
            if end == at.at + 1 {
                return None;
            }
            at.at = end;
        }
        at.skip(b"}")?;
        (at.at == line.len()).then_some(Self { as_of, sum, sum_at, id, index, event_type, previous })
    }
}

struct Cursor<'l> {
    line: &'l [u8],
    at: usize,
}

impl<'l> Cursor<'l> {
    /// The length is known where it is called, so that this is a comparison of a few words.
    #[inline(always)]
    fn skip<const N: usize>(&mut self, literal: &[u8; N]) -> Option<()> {
        let (found, _) = self.line.get(self.at..)?.split_first_chunk::<N>()?;
        (found == literal).then(|| self.at += N)
    }

    fn take(&mut self, length: usize) -> Option<&'l [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.line.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    /// What stands before the next such byte, which must come soon.
    fn until(&mut self, byte: u8, most: usize) -> Option<&'l [u8]> {
        let rest = self.line.get(self.at..)?;
        let length = rest.iter().take(most).position(|b| *b == byte)?;
        self.take(length)
    }
}

/// A float's text as seconds. Good enough to compare times: how it is spelled is for the deep audit.
fn seconds(text: &[u8]) -> Option<f64> {
    let point = text.iter().position(|b| *b == b'.');
    if let Some(point) = point
        && text.len() <= 18
    {
        let (whole, fraction) = (text.get(..point)?, text.get(point + 1..)?);
        let number = |digits: &[u8]| {
            digits
                .iter()
                .try_fold(0_u64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
        };
        if let (Some(whole), Some(part), false, false) =
            (number(whole), number(fraction), whole.is_empty(), fraction.is_empty())
        {
            return Some(whole as f64 + part as f64 / TENS[fraction.len()]);
        }
    }
    let spelled = text.first().is_some_and(|b| matches!(b, b'0'..=b'9' | b'-')) && !text.iter().all(u8::is_ascii_digit);
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (spelled && value.is_finite()).then_some(value)
}

/// Powers of ten, as far as the fraction of a short time goes.
const TENS: [f64; 18] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17];

/// A number without sign and leading zero.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 1 && digits.first() == Some(&b'0') {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// Whether these are the id digits of this index: padded with zeros to twelve.
pub(super) fn is_id(digits: &[u8], index: u64) -> bool {
    let zeros = digits.iter().take_while(|b| **b == b'0').count();
    let bare = digits.get(zeros..).unwrap_or_default();
    digits.len() >= 12 && (digits.len() == 12 || zeros == 0) && decimal(bare) == Some(index)
}

/// Bytes that mean something to the structure outside of a string.
const MARKS: [u8; 256] = {
    let mut marks = [0; 256];
    marks[b'"' as usize] = QUOTE;
    marks[b'{' as usize] = OPENS;
    marks[b'[' as usize] = OPENS;
    marks[b'}' as usize] = CLOSES;
    marks[b']' as usize] = CLOSES;
    marks
};
const QUOTE: u8 = 1;
const OPENS: u8 = 2;
const CLOSES: u8 = 3;

/// Behind the closing brace of the object that begins here.
fn object_end(line: &[u8], start: usize) -> Option<usize> {
    if line.get(start) != Some(&b'{') {
        return None;
    }
    let mut depth = 0_usize;
    let mut at = start;
    loop {
        at += line.get(at..)?.iter().position(|b| MARKS[usize::from(*b)] != 0)?;
        match MARKS[usize::from(*line.get(at)?)] {
            QUOTE => {
                at = string_end(line, at + 1)?;
                continue;
            }
            OPENS => depth += 1,
            _ => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
        }
        at += 1;
    }
}

/// Behind the closing quote of the string whose first character stands here.
fn string_end(line: &[u8], mut at: usize) -> Option<usize> {
    loop {
        // Eight bytes at once as long as none of them ends the string or escapes something.
        while let Some((eight, _)) = line.get(at..)?.split_first_chunk::<8>() {
            let word = u64::from_le_bytes(*eight);
            let marks = zeros(word ^ QUOTES) | zeros(word ^ ESCAPES);
            if marks != 0 {
                at += marks.trailing_zeros() as usize / 8;
                break;
            }
            at += 8;
        }
        match line.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

const QUOTES: u64 = u64::from_le_bytes([b'"'; 8]);
const ESCAPES: u64 = u64::from_le_bytes([b'\\'; 8]);

/// A word whose lowest set bit is that of the first zero byte.
const fn zeros(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    word.wrapping_sub(ONES) & !word & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_what_is_no_float_is_not() {
        for (text, value) in [
            ("1777646400.5", 1_777_646_400.5),
            ("0.1", 0.1),
            ("-1.5", -1.5),
            ("1e+16", 1e16),
            ("1777646400.123456789", 1_777_646_400.123_456_8),
        ] {
            let read = seconds(text.as_bytes()).unwrap();
            assert!((read - value).abs() < 1e-6, "{text}: {read}");
        }
        for text in ["1", "", ".", "1.", ".5", "nan", "inf", "+1.0", "1.0x", "x1.0"] {
            let read = seconds(text.as_bytes());
            assert!(read.is_none() || text == "1.", "{text}: {read:?}");
        }
    }

    #[test]
    fn a_string_ends_at_its_quote_wherever_that_is() {
        for length in 0..40 {
            for escape in ["", "\\\\", "\\\""] {
                let text = format!("{}{escape}{}\"tail", "x".repeat(length), "y".repeat(length % 5));
                assert_eq!(string_end(text.as_bytes(), 0), Some(text.len() - 4), "{text}");
                assert_eq!(string_end(text.trim_end_matches("\"tail").as_bytes(), 0), None, "{text}");
            }
        }
    }

    #[test]
    fn ids_are_twelve_digits_or_exactly_as_many_as_the_index_has() {
        for (digits, index, good) in [
            ("000000000042", 42, true),
            ("0000000000042", 42, false),
            ("00000000042", 42, false),
            ("1234567890123", 1_234_567_890_123, true),
            ("01234567890123", 1_234_567_890_123, false),
            ("000000000043", 42, false),
            ("", 0, false),
        ] {
            assert_eq!(is_id(digits.as_bytes(), index), good, "{digits}");
        }
    }

    #[test]
    fn an_object_ends_where_it_ends_whatever_its_texts_say() {
        for object in [r#"{}"#, r#"{"a":"}"}"#, r#"{"a\"}":[{"b":"\\"},[]]}"#] {
            let line = format!("{object},\"x\":1}}");
            assert_eq!(object_end(line.as_bytes(), 0), Some(object.len()));
        }
        for open in [r#"{"#, r#"{"a":"}"#, r#"{"a\"}"#, "x", ""] {
            assert_eq!(object_end(open.as_bytes(), 0), None, "{open}");
        }
    }
}
