//! The chain of lifecycle events: each names the checksum of the one before it, over the bytes as they are stored.

use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

/// Where a chain ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// How many events.
    pub count: u64,
    /// Checksum of the last one; zeros for none.
    pub sum: [u8; 32],
}

/// The checksum of an event. The payload is spliced in as it is stored.
fn sum(id: i64, at_ms: i64, event_type: &str, payload: &str, prev: &[u8; 32]) -> [u8; 32] {
    // A string of text always has a JSON form.
    let name = serde_json::to_string(event_type).unwrap_or_default();
    let mut hash = Sha256::new();
    hash.update(format!("{{\"at_ms\":{at_ms},\"event_type\":{name},\"id\":{id},\"payload\":"));
    hash.update(payload);
    hash.update(",\"prev\":\"");
    hash.update(crate::hex::hex(prev));
    hash.update("\"}");
    hash.finalize().into()
}

/// Adds an event behind the last one; gives its number.
pub(super) fn append(connection: &Connection, at_ms: u64, event_type: &str, payload: &str) -> rusqlite::Result<i64> {
    let last = connection
        .prepare_cached("SELECT id, sum FROM lifecycle_events ORDER BY id DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 32]>(1)?)))
        .optional()?;
    let (id, prev) = last.map_or((1, [0; 32]), |(id, sum)| (id.saturating_add(1), sum));
    let at = i64::try_from(at_ms).unwrap_or(i64::MAX);
    let sum = sum(id, at, event_type, payload, &prev);
    connection
        .prepare_cached(
            "INSERT INTO lifecycle_events (id, at_ms, event_type, payload_json, prev, sum) VALUES (?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![id, at, event_type, payload, prev, sum])?;
    Ok(id)
}

/// Walks the whole chain; the inner error says which event does not fit.
pub(crate) fn walk(connection: &Connection) -> rusqlite::Result<Result<Tail, String>> {
    let mut query = connection
        .prepare("SELECT id, at_ms, event_type, payload_json, prev, sum FROM lifecycle_events ORDER BY id")?;
    let mut rows = query.query([])?;
    let mut tail = Tail::default();
    while let Some(row) = rows.next()? {
        let (id, prev, stored): (i64, [u8; 32], [u8; 32]) = (row.get(0)?, row.get(4)?, row.get(5)?);
        let (name, payload): (String, String) = (row.get(2)?, row.get(3)?);
        if u64::try_from(id) != Ok(tail.count.saturating_add(1)) || prev != tail.sum {
            return Ok(Err(format!("lifecycle event {id} does not follow the one before it")));
        }
        if sum(id, row.get(1)?, &name, &payload, &prev) != stored {
            return Ok(Err(format!("the checksum of lifecycle event {id} does not match")));
        }
        tail = Tail { count: tail.count.saturating_add(1), sum: stored };
    }
    Ok(Ok(tail))
}
