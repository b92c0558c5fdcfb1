//! Reading the account over HTTP: every dex in use, once a second while something is open and every other second while
//! nothing is, where the venue's weights allow; and right after a fill. One loop, one question at a time, each with the
//! client's deadline.

use holdfast_core::limits::{ACCOUNT_MAX_AGE, TICK};
use holdfast_core::report::AccountView;
use holdfast_core::time::{Span, Tick};
use holdfast_venue_reduce::budget::{COMMON, LIGHT, SENSOR};
use holdfast_venue_reduce::client::{ReadError, Venue};
use holdfast_venue_reduce::read::{AccountRole, DexScope};
use holdfast_venue_reduce::wire::{Address, Dex};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

/// Pause between readings while something is open, when weights allow.
const EVERY: Span = Span::from_ms(1000);
/// ... and while nothing is: a fill asks for a reading by itself.
const EVERY_FLAT: Span = Span::from_ms(2000);
/// Shortest pause, however many fills come: a burst of fills is one reading.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// Between two beats of the supervisor.
const BEAT: Duration = Duration::from_nanos(TICK.0);
/// Pause after a reading that failed.
const AFTER_FAILURE: Duration = Duration::from_millis(500);
/// How often the list of dexes is read again on a real venue.
const DEXES_EVERY: Span = Span::from_ms(60_000);
/// How often the address quota is read.
const QUOTA_EVERY: Span = Span::from_ms(10_000);
/// ... and on a real venue, where it costs weight others need.
const QUOTA_EVERY_LIVE: Span = Span::from_ms(60_000);
/// Weight per minute of everything else this worker asks for: the dexes, the quota, the venue's clock every ten seconds.
const BESIDE: u32 = COMMON + COMMON + 6 * LIGHT;
/// Weight per minute this loop may use on a real venue, and what one dex costs each time.
const WEIGHT_PER_MINUTE: u64 = (SENSOR.per_minute - BESIDE) as u64;
const WEIGHT_PER_DEX: u64 = (COMMON + LIGHT) as u64;

const _: () =
    assert!(EVERY_FLAT.0 < ACCOUNT_MAX_AGE.0 / 2, "one failed reading does not make the account unknown by age");

/// What came of a reading.
#[derive(Debug)]
pub(crate) enum AccountReading {
    /// The account as it was; the first question was sent at `asked`.
    Known {
        /// When the first question left.
        asked: Tick,
        /// The reading.
        view: Box<AccountView>,
    },
    /// It could not be read.
    Unknown(String),
    /// The configured address is an agent's.
    Agent {
        /// Whose.
        master: Address,
    },
}

/// Pause between readings of this many dexes.
fn pace(paper: bool, dexes: usize, flat: bool) -> Duration {
    let every = if flat { EVERY_FLAT } else { EVERY };
    let cost = u64::try_from(dexes).unwrap_or(u64::MAX).saturating_mul(WEIGHT_PER_DEX);
    let share = cost.saturating_mul(60_000) / WEIGHT_PER_MINUTE;
    Duration::from_millis(if paper { every.as_ms() } else { every.as_ms().max(share) })
}

/// What asks for readings.
#[derive(Clone, Default)]
pub(crate) struct Bells {
    /// The supervisor's beat: what is due is asked then, in a waking that is had anyway.
    pub(crate) beat: Rc<Notify>,
    /// A reading is wanted now.
    pub(crate) poke: Rc<Notify>,
}

/// Reads until nobody listens.
pub(crate) async fn follow(venue: Venue, paper: bool, bells: Bells, out: mpsc::Sender<AccountReading>) {
    let mut reader = Reader { venue, paper, role_known: false, dexes: None, quota: None, quota_asked: None };
    loop {
        let reading = reader.read().await;
        let pause = match &reading {
            AccountReading::Known { view, .. } => pace(reader.paper, reader.dex_count(), view.is_flat()),
            AccountReading::Unknown(_) | AccountReading::Agent { .. } => AFTER_FAILURE,
        };
        if out.send(reading).await.is_err() {
            return;
        }
        let done = Instant::now();
        // A new timer for each reading, later than the beat that is waited for: it wakes nobody as long as beats come.
        let late = tokio::time::sleep_until(done + pause + BEAT);
        let mut late = std::pin::pin!(late);
        let poked = loop {
            tokio::select! {
                () = bells.beat.notified() => {
                    if done.elapsed() + BEAT / 2 >= pause {
                        break false;
                    }
                }
                () = late.as_mut() => break false,
                () = bells.poke.notified() => break true,
                () = out.closed() => return,
            }
        };
        if !poked {
            continue;
        }
        tokio::time::sleep_until(done + DEBOUNCE).await;
    }
}

struct Reader {
    venue: Venue,
    paper: bool,
    role_known: bool,
    dexes: Option<(Vec<Dex>, Tick)>,
    quota: Option<u64>,
    quota_asked: Option<Tick>,
}

impl Reader {
    fn dex_count(&self) -> usize {
        self.dexes.as_ref().map_or(1, |(dexes, _)| dexes.len())
    }

    async fn read(&mut self) -> AccountReading {
        match self.try_read().await {
            Ok(reading) => reading,
            Err(error) => AccountReading::Unknown(error.to_string()),
        }
    }

    async fn try_read(&mut self) -> Result<AccountReading, ReadError> {
        if !self.role_known {
            match self.venue.role_of(self.venue.account()).await? {
                AccountRole::Agent { data } => return Ok(AccountReading::Agent { master: data.user }),
                AccountRole::Missing {} => tracing::warn!("the venue has never seen this account"),
                AccountRole::User {} | AccountRole::Vault {} | AccountRole::SubAccount {} => {}
            }
            self.role_known = true;
        }
        let asked = self.venue.now();
        let scope = DexScope::Only(self.dexes(asked).await?);
        let snapshot = self.venue.account_snapshot(&scope).await?;
        self.read_quota().await;
        let view = snapshot.view(self.quota).map_err(|why| ReadError::Shape(why.to_string()))?;
        Ok(AccountReading::Known { asked: snapshot.sent, view: Box::new(view) })
    }

    /// The list of dexes, read again now and then.
    async fn dexes(&mut self, now: Tick) -> Result<Vec<Dex>, ReadError> {
        match &self.dexes {
            Some((dexes, at)) if now.since(*at) < DEXES_EVERY => Ok(dexes.clone()),
            Some(_) | None => {
                let dexes = self.venue.perp_dexs().await?;
                self.dexes = Some((dexes.clone(), now));
                Ok(dexes)
            }
        }
    }

    /// The quota is a number for the limits; without it the account is still known.
    async fn read_quota(&mut self) {
        let every = if self.paper { QUOTA_EVERY } else { QUOTA_EVERY_LIVE };
        let now = self.venue.now();
        if self.quota_asked.is_none_or(|at| now.since(at) >= every) {
            self.quota_asked = Some(now);
            self.quota = self.venue.rate_limit().await.ok().map(|limit| limit.left());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_venue_reduce::read::{AccountSnapshot, DexView, parse_clearinghouse};

    #[test]
    fn a_reading_is_as_old_as_its_first_question() {
        let sums = r#"{"accountValue":"1","totalNtlPos":"0","totalRawUsd":"1","totalMarginUsed":"0"}"#;
        let body = format!(r#"{{"assetPositions":[],"marginSummary":{sums},"withdrawable":"1","time":5}}"#);
        let (asked, answered) = (Tick(1_000_000_000), Tick(7_000_000_000));
        let account = parse_clearinghouse(body.as_bytes(), asked).unwrap();
        let dex = DexView { dex: Dex::first(), account, orders: Vec::new() };
        let snapshot = AccountSnapshot::of_parts(vec![dex], answered).unwrap();
        // What happened in the six seconds between may be missing in it.
        assert_eq!(snapshot.view(None).unwrap().read_at, asked);
    }

    #[test]
    fn the_pace_keeps_to_the_weights_of_a_real_venue() {
        let rows = [
            (true, 1, false, 1000),
            (true, 9, false, 1000),
            (true, 1, true, 2000),
            (false, 1, false, 2207),
            (false, 1, true, 2207),
            (false, 2, true, 4414),
        ];
        for (paper, dexes, flat, ms) in rows {
            assert_eq!(pace(paper, dexes, flat), Duration::from_millis(ms), "{paper} {dexes} {flat}");
        }
        for dexes in 1..20 {
            let per_minute = 60_000 / pace(false, dexes, false).as_millis() * u128::try_from(dexes).unwrap() * 22;
            assert!(per_minute <= u128::from(WEIGHT_PER_MINUTE), "{dexes}");
        }
    }
}
