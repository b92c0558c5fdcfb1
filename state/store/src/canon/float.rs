//! The text of a double: the shortest decimal that reads back as the same value, in one fixed layout.

use std::io::Write;

/// A NaN or an infinity.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotFinite;

/// Appends the text of a double.
pub(super) fn write(out: &mut Vec<u8>, value: f64) -> Result<(), NotFinite> {
    if !value.is_finite() {
        return Err(NotFinite);
    }
    let mut scratch = Scratch { bytes: [0; 40], len: 0 };
    // The standard library's exponent form carries the shortest digits; only the layout is ours.
    write!(scratch, "{value:e}").map_err(|_| NotFinite)?;
    let text = &scratch.bytes[..scratch.len];
    let (sign, text) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, text),
    };
    let at = text.iter().position(|b| *b == b'e').ok_or(NotFinite)?;
    let (mantissa, exponent) = (&text[..at], &text[at + 1..]);
    let exponent: i32 = std::str::from_utf8(exponent).ok().and_then(|e| e.parse().ok()).ok_or(NotFinite)?;
    let mut digits = [b'0'; 24];
    let mut count = 0;
    for digit in mantissa.iter().filter(|b| b.is_ascii_digit()) {
        *digits.get_mut(count).ok_or(NotFinite)? = *digit;
        count += 1;
    }
    if sign {
        out.push(b'-');
    }
    layout(out, &digits[..count], exponent);
    Ok(())
}

fn layout(out: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    match exponent {
        -4..=-1 => {
            out.extend_from_slice(b"0.");
            out.extend((exponent..-1).map(|_| b'0'));
            out.extend_from_slice(digits);
        }
        0..16 => {
            // In range by the arm.
            let whole = usize::try_from(exponent).unwrap_or(0) + 1;
            out.extend((0..whole).map(|at| digits.get(at).copied().unwrap_or(b'0')));
            out.push(b'.');
            out.extend_from_slice(digits.get(whole..).filter(|rest| !rest.is_empty()).unwrap_or(b"0"));
        }
        _ => {
            let (first, rest) = digits.split_at(1.min(digits.len()));
            out.extend_from_slice(first);
            if !rest.is_empty() {
                out.push(b'.');
                out.extend_from_slice(rest);
            }
            // Writing to a vector cannot fail.
            let sign = if exponent < 0 { '-' } else { '+' };
            let _ = write!(out, "e{sign}{:02}", exponent.unsigned_abs());
        }
    }
}

struct Scratch {
    bytes: [u8; 40],
    len: usize,
}

impl Write for Scratch {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        let n = room.len().min(bytes.len());
        room[..n].copy_from_slice(&bytes[..n]);
        self.len += n;
        Ok(n)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
