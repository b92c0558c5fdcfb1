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
    // Digits as the reference finds them: shortest, nearest, and even where two are equally near. The standard library
    // does not keep to the last.
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value).as_bytes();
    let (sign, text) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, text),
    };
    let (mantissa, exponent): (_, i32) = match text.iter().position(|b| *b == b'e') {
        Some(at) => (&text[..at], std::str::from_utf8(&text[at + 1..]).ok().and_then(|e| e.parse().ok()).unwrap_or(0)),
        None => (text, 0),
    };
    let whole = mantissa.iter().position(|b| *b == b'.').unwrap_or(mantissa.len());
    let mut digits = [b'0'; 32];
    let mut count = 0;
    for (place, digit) in digits.iter_mut().zip(mantissa.iter().filter(|b| b.is_ascii_digit())) {
        *place = *digit;
        count += 1;
    }
    let zeros = digits[..count].iter().take_while(|b| **b == b'0').count();
    if sign {
        out.push(b'-');
    }
    if zeros == count {
        out.extend_from_slice(b"0.0");
        return Ok(());
    }
    let end = count - digits[..count].iter().rev().take_while(|b| **b == b'0').count();
    // Both are counts of a few digits.
    let shift = i32::try_from(whole).unwrap_or(0) - i32::try_from(zeros).unwrap_or(0) - 1;
    layout(out, &digits[zeros..end], exponent + shift);
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
