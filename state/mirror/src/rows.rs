//! Lines of the bus as rows: the searchable members beside the line itself.

use crate::error::MirrorError;
use serde::Deserialize;

/// Events of one batch, column by column, in order.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Rows {
    pub(crate) index: Vec<i64>,
    pub(crate) event_type: Vec<String>,
    pub(crate) as_of: Vec<f64>,
    pub(crate) checksum: Vec<String>,
    pub(crate) previous: Vec<Option<String>>,
    pub(crate) line: Vec<String>,
}

/// What of an event is searched for. The line's checksum covers the rest.
#[derive(Deserialize)]
struct Header {
    event_index: u64,
    event_type: String,
    as_of: f64,
    checksum: String,
    previous_checksum: Option<String>,
}

/// Reads whole lines of events without gaps from `first_index` on.
///
/// # Errors
/// [`MirrorError::Line`].
pub(crate) fn parse(first_index: u64, raw_lines: &[u8]) -> Result<Rows, MirrorError> {
    let mut rows = Rows::default();
    let lines = raw_lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    for (index, line) in (first_index..).zip(lines) {
        let bad = |why: String| MirrorError::Line { index, why };
        let text = std::str::from_utf8(line).map_err(|e| bad(e.to_string()))?;
        let header: Header = serde_json::from_str(text).map_err(|e| bad(e.to_string()))?;
        if header.event_index != index {
            return Err(bad(format!("it calls itself event {}", header.event_index)));
        }
        rows.index.push(i64::try_from(index).map_err(|e| bad(e.to_string()))?);
        rows.event_type.push(header.event_type);
        rows.as_of.push(header.as_of);
        rows.checksum.push(header.checksum);
        rows.previous.push(header.previous_checksum);
        rows.line.push(text.to_owned());
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(index: u64) -> String {
        format!(
            r#"{{"as_of":1.5,"checksum":"sha256:{index}","event_index":{index},"event_type":"t","payload":{{"event_index":9}},"previous_checksum":null}}"#
        )
    }

    #[test]
    fn lines_become_rows_in_order_or_nothing_does() {
        let two = format!("{}\n{}\n", line(7), line(8));
        let rows = parse(7, two.as_bytes()).unwrap();
        assert_eq!((rows.index.as_slice(), rows.line.len()), ([7, 8].as_slice(), 2));
        assert_eq!(rows.line[1], line(8));
        assert!(matches!(parse(6, two.as_bytes()), Err(MirrorError::Line { index: 6, .. })));
        let spoilt = format!("{}\n{}\n", line(7), line(9));
        assert!(matches!(parse(7, spoilt.as_bytes()), Err(MirrorError::Line { index: 8, .. })));
        assert!(parse(1, b"garbage\n").is_err() && parse(1, &[0xff, b'\n']).is_err());
    }
}
