//! Times of market files as milliseconds since the epoch: whole or fractional epoch seconds, ms, µs or ns by their
//! magnitude, or a date and time with or without a zone (without one it is UTC, as every public data set has it).

use super::number::scaled;

/// What a time must look like, for error texts.
pub(super) const WANT_TIME: &str = "a time (epoch s, ms, us or ns, or YYYY-MM-DD HH:MM:SS)";

/// Milliseconds since the epoch; `None` for what is not a time after 1970.
pub(super) fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.is_empty() || text.len() > 48 {
        return None;
    }
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'e' || b == b'E' || b == b'+') {
        return epoch(text);
    }
    calendar(text)
}

/// A number of seconds, ms, µs or ns. The bands do not meet for any date between 1973 and 5138.
fn epoch(text: &str) -> Option<u64> {
    let ns = scaled(text, 9)?; // as if it were seconds
    let whole = ns / 1_000_000_000;
    let ms = if whole < 100_000_000_000 {
        ns / 1_000_000
    } else if whole < 100_000_000_000_000 {
        whole
    } else if whole < 100_000_000_000_000_000 {
        whole / 1_000
    } else {
        whole / 1_000_000
    };
    u64::try_from(ms).ok()
}

fn calendar(text: &str) -> Option<u64> {
    let mut text = text.replace('/', "-");
    for suffix in [" UTC", " GMT", "UTC", "GMT"] {
        if let Some(head) = text.strip_suffix(suffix) {
            text = format!("{}Z", head.trim_end());
            break;
        }
    }
    // 2022.01.20, as some charting programs write it.
    if text.get(4..5) == Some(".") && text.get(7..8) == Some(".") {
        text.replace_range(4..5, "-");
        text.replace_range(7..8, "-");
    }
    let at = match text.parse::<jiff::Timestamp>() {
        Ok(at) => at,
        Err(_) => text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp(),
    };
    u64::try_from(at.as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn one_moment_in_every_spelling() {
        for text in [
            "1642636800",
            "1642636800.0",
            "1642636800000",
            "1642636800000000",
            "1642636800000000000",
            "1.6426368e+09",
            "2022-01-20 00:00:00.000000",
            "2022-01-20T00:00:00Z",
            "2022-01-20T00:00:00.000Z",
            "2022-01-20 00:00:00+00:00",
            "2022-01-20T02:00:00+02:00",
            "2022-01-20 00:00:00 UTC",
            "2022-01-20 00:00",
            "2022/01/20 00:00:00",
            "2022.01.20 00:00",
            "2022-01-20",
        ] {
            assert_eq!(parse(text), Some(1_642_636_800_000), "{text:?}");
        }
        for text in ["", "soon", "NaN", "-5", "2022-13-01", "1e40", "12:00"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
