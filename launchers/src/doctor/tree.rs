//! What a running tree says of itself, and what the venue says when it is asked from here.

use super::{Check, fail, ok, warn};
use crate::link::Seen;
use crate::status::{decisions_unknown, fenced};
use holdfast_core::status::{StatusDoc, WorkerStatus};
use holdfast_ipc::clock;
use holdfast_sensor::judge::SKEW_MAX_MS;
use holdfast_venue_reduce::client::{Venue, VenueConfig};
use holdfast_venue_reduce::wire::{Address, Network};

/// The tree's own words.
pub(super) fn tree(seen: &Seen) -> Vec<Check> {
    let doc = match seen {
        Seen::Live(doc) => doc,
        Seen::NotRunning { .. } => return vec![ok("tree", "no engine runs")],
        Seen::Unknown { why, .. } => {
            return vec![fail("tree", why.clone(), "engine kill works without the supervisor; engine logs supervisor")];
        }
    };
    let mut checks = workers(doc);
    let read = doc.exposure.as_of.as_deref().unwrap_or("never");
    checks.push(if doc.exposure.known {
        ok("account", format!("last read {read}"))
    } else {
        fail("account", format!("no fresh reading (last: {read})"), "engine logs sensor; engine logs deadman")
    });
    checks.push(match &doc.dead_man.unrecorded {
        None => ok("deadman", "what it begins is written down"),
        Some(why) => fail(
            "deadman",
            format!("works, and cannot write down what it begins: {why}"),
            "mend the disk, or move data/deadman.cell aside; then engine restart, which starts killed until engine resume",
        ),
    });
    checks.push(if doc.journal.durable {
        ok("journal", format!("{} events", doc.journal.events))
    } else {
        fail("journal", doc.journal.detail.clone(), "engine audit verify; check the disk")
    });
    checks.push(if decisions_unknown(doc) {
        ok("decisions", "not known while the engine is down")
    } else if doc.decisions.durable {
        ok("decisions", format!("{} entries, {} unsettled", doc.decisions.entries, doc.decisions.unsettled))
    } else {
        fail("decisions", "the last append did not reach the disk", "engine logs engine; check the disk")
    });
    checks
}

fn workers(doc: &StatusDoc) -> Vec<Check> {
    let down = |w: &&WorkerStatus| w.state != "ready" && !fenced(doc, w);
    let mut checks: Vec<Check> = doc
        .workers
        .iter()
        .filter(down)
        .map(|w| fail("worker", format!("{} is {}", w.role, w.state), format!("engine logs {}", w.role)))
        .collect();
    if doc.kill.active {
        let detail = format!("killed ({}): the engine is kept down", doc.kill.state);
        checks.push(warn("tree", detail, "engine status; engine resume when you want to trade again"));
    } else if checks.is_empty() {
        checks.push(ok("tree", format!("{} workers ready, mode {}", doc.workers.len(), doc.trading_mode)));
    }
    checks
}

/// Asks the venue for its time, without account and without key.
pub(super) async fn venue(seen: &Seen) -> Check {
    let Seen::Live(doc) = seen else {
        return ok("venue", "not asked: the paper venue runs only with the engine");
    };
    if doc.venue_url.is_empty() {
        return fail("venue", "its address is not known yet", "engine status; engine logs venue");
    }
    // The question names no account; the client wants one.
    let config = VenueConfig::new(&doc.venue_url, Network::Testnet, Address::new([0; 20]), clock::now);
    let answer = match Venue::new(config) {
        Ok(venue) => venue.venue_time().await.map_err(|e| e.to_string()),
        Err(e) => Err(e.to_string()),
    };
    match answer {
        Err(why) => {
            fail("venue", format!("{} does not answer: {why}", doc.venue_url), "engine logs venue; engine logs sensor")
        }
        Ok(time) => {
            let trip = time.received.since(time.sent).as_ms();
            let asked_ms = clock::wall_of(time.sent);
            let detail = skew(asked_ms, trip, time.time_ms);
            match detail {
                Ok(skew) => ok("venue", format!("{} answers in {trip} ms, clock skew {skew} ms", doc.venue_url)),
                Err(skew) => fail(
                    "venue",
                    format!("{} answers in {trip} ms, clock skew {skew} ms", doc.venue_url),
                    "set this host's clock (a time service); orders expire by the venue's clock",
                ),
            }
        }
    }
}

/// Venue time minus ours, as far as the round trip does not explain it; `Err` when it is more than trading bears.
fn skew(asked_ms: u64, trip_ms: u64, venue_ms: u64) -> Result<i64, i64> {
    let early = i64::try_from(i128::from(venue_ms) - i128::from(asked_ms)).unwrap_or(i64::MAX);
    let trip = i64::try_from(trip_ms).unwrap_or(i64::MAX);
    // Anywhere within the round trip is no skew at all.
    let skew = if early < 0 { early } else { early.saturating_sub(trip).max(0) };
    if skew.unsigned_abs() <= SKEW_MAX_MS { Ok(skew) } else { Err(skew) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_is_no_skew_and_a_wrong_clock_is() {
        assert_eq!(skew(1_000, 20, 1_010), Ok(0));
        assert_eq!(skew(1_000, 20, 1_030), Ok(10));
        assert_eq!(skew(1_000, 20, 995), Ok(-5));
        assert_eq!(skew(1_000, 20, 1_000_000), Err(998_980));
        assert_eq!(skew(1_000_000, 20, 0), Err(-1_000_000));
    }
}
