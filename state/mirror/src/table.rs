//! One table, one transaction a batch.

use crate::error::MirrorError;
use crate::rows::Rows;
use crate::target::Target;
use tokio_postgres::{Client, NoTls};

/// The line is kept as text: it is ASCII, and its checksum is over its bytes.
const MAKE: &str = "
SET statement_timeout = '8s';
SET idle_in_transaction_session_timeout = '20s';
CREATE TABLE IF NOT EXISTS holdfast_bus (
    bus_id            text             NOT NULL,
    event_index       bigint           NOT NULL CHECK (event_index > 0),
    event_type        text             NOT NULL,
    as_of             double precision NOT NULL,
    checksum          text             NOT NULL,
    previous_checksum text,
    line              text             NOT NULL,
    PRIMARY KEY (bus_id, event_index)
)";

const LAST: &str = "
SELECT event_index, checksum, (SELECT count(*) FROM holdfast_bus WHERE bus_id = $1)
FROM holdfast_bus WHERE bus_id = $1 ORDER BY event_index DESC LIMIT 1";

const BEFORE: &str = "SELECT checksum FROM holdfast_bus WHERE bus_id = $1 AND event_index = $2";

const TAKE: &str = "
INSERT INTO holdfast_bus (bus_id, event_index, event_type, as_of, checksum, previous_checksum, line)
SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::float8[], $5::text[], $6::text[], $7::text[])
ON CONFLICT DO NOTHING";

const DIFFERENT: &str = "
SELECT had.event_index, had.checksum, new.checksum
FROM holdfast_bus had JOIN unnest($2::bigint[], $3::text[]) AS new (event_index, checksum) USING (event_index)
WHERE had.bus_id = $1 AND had.checksum <> new.checksum ORDER BY had.event_index LIMIT 1";

/// The table and the connection to it.
pub(crate) struct Table {
    client: Client,
}

impl Table {
    pub(crate) async fn open(target: &Target) -> Result<Self, MirrorError> {
        let (client, connection) = target.0.connect(NoTls).await?;
        // Ends with the client; how it ended shows in the client's next answer.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        client.batch_execute(MAKE).await?;
        Ok(Self { client })
    }

    pub(crate) async fn last(&self, bus_id: &str) -> Result<Option<(u64, String)>, MirrorError> {
        let Some(row) = self.client.query_opt(LAST, &[&bus_id]).await? else { return Ok(None) };
        let (last, checksum, count): (i64, String, i64) = (row.get(0), row.get(1), row.get(2));
        let (last, count) = (last.unsigned_abs(), count.unsigned_abs());
        if last != count {
            return Err(MirrorError::Gap { count, last });
        }
        Ok(Some((last, checksum)))
    }

    /// Takes a batch whole, or nothing of it.
    pub(crate) async fn take(&mut self, bus_id: &str, rows: &Rows) -> Result<(), MirrorError> {
        let (Some(first), Some(link)) = (rows.index.first(), rows.previous.first()) else { return Ok(()) };
        let transaction = self.client.transaction().await?;
        if let Some(before) = transaction.query_opt(BEFORE, &[&bus_id, &(first - 1)]).await? {
            let expected: String = before.get(0);
            let found = link.clone().unwrap_or_default();
            if expected != found {
                return Err(MirrorError::Fork { index: (first - 1).unsigned_abs(), expected, found });
            }
        } else if *first != 1 {
            return Err(MirrorError::Gap { count: 0, last: (first - 1).unsigned_abs() });
        }
        let columns: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
            [&bus_id, &rows.index, &rows.event_type, &rows.as_of, &rows.checksum, &rows.previous, &rows.line];
        transaction.execute(TAKE, &columns).await?;
        if let Some(row) = transaction.query_opt(DIFFERENT, &[&bus_id, &rows.index, &rows.checksum]).await? {
            let index: i64 = row.get(0);
            return Err(MirrorError::Fork { index: index.unsigned_abs(), expected: row.get(1), found: row.get(2) });
        }
        Ok(transaction.commit().await?)
    }
}
