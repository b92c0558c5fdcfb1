//! Prometheus metrics: the present status document rendered at scrape time, so metrics cannot disagree with it.
//!
//! When the document is stale there is one metric that says so and none that could be read as a mode.

use crate::snapshot::Snapshot;
use holdfast_core::registry::{TradingMode, VenueDeadMan};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;

/// Words of `kill.state`, as the document spells them.
const KILL_STATES: [&str; 6] = ["none", "fencing", "cancelling", "closing", "flat", "not_flat"];

/// The text of one scrape.
///
/// # Errors
/// The encoder's; writing to a string does not fail.
pub(crate) fn render(fresh: Option<Arc<Snapshot>>, streams: (u64, u64)) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape { fresh, streams }));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

#[derive(Debug)]
struct Scrape {
    fresh: Option<Arc<Snapshot>>,
    streams: (u64, u64),
}

fn number(flag: bool) -> i64 {
    i64::from(flag)
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: i64) -> fmt::Result {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(encoder)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(encoder)
    }

    /// One gauge per label value.
    fn family<'l>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        rows: impl IntoIterator<Item = (&'l str, i64)>,
    ) -> fmt::Result {
        let mut encoder: MetricEncoder<'_> = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (word, value) in rows {
            ConstGauge::new(value).encode(encoder.encode_family(&[(label, word)])?)?;
        }
        Ok(())
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut page = Page(encoder);
        page.gauge(
            "holdfast_status_stale",
            "1 when no recent status document exists: treat as Kill.",
            number(self.fresh.is_none()),
        )?;
        page.gauge("holdfast_api_streams", "Open event streams.", whole(self.streams.0))?;
        page.counter("holdfast_api_streams_dropped", "Event streams dropped for slowness.", self.streams.1)?;
        match &self.fresh {
            Some(snapshot) => document(&mut page, snapshot),
            None => Ok(()),
        }
    }
}

fn document(page: &mut Page<'_>, snapshot: &Snapshot) -> fmt::Result {
    let doc = &snapshot.doc;
    page.family(
        "holdfast_trading_mode",
        "The present mode, one-hot.",
        "mode",
        TradingMode::ALL.iter().map(|m| (m.as_str(), number(*m == doc.trading_mode))),
    )?;
    page.family(
        "holdfast_mode_reason",
        "Reasons that restrict the mode.",
        "code",
        doc.mode_reasons.iter().map(|r| (r.as_str(), 1)),
    )?;
    page.gauge(
        "holdfast_open_permission_latched",
        "1 when new risk is latched off until books are reconciled.",
        number(doc.open_permission_blocked_latch),
    )?;
    page.family(
        "holdfast_open_permission_reason",
        "What must be reconciled.",
        "code",
        doc.open_permission_reason_codes.iter().map(|r| (r.as_str(), 1)),
    )?;
    page.gauge("holdfast_permit_live", "1 when the engine may open risk.", number(doc.permit.live))?;
    page.gauge(
        "holdfast_permit_deadline_milliseconds",
        "Time until the permit lapses unless renewed.",
        whole(doc.permit.deadline_in_ms),
    )?;
    page.gauge("holdfast_epoch", "Fencing epoch.", whole(doc.permit.epoch))?;
    page.gauge("holdfast_uptime_milliseconds", "Age of the supervisor.", whole(doc.uptime_s.ms))?;
    workers(page, snapshot)?;
    page.gauge(
        "holdfast_exposure_known",
        "1 when a fresh, complete account reading exists.",
        number(doc.exposure.known),
    )?;
    page.gauge(
        "holdfast_exposure_flat",
        "1 when that reading shows no position and no resting order.",
        number(doc.exposure.known && doc.exposure.flat),
    )?;
    if doc.exposure.known {
        let positions = doc.exposure.positions.iter().filter(|p| !p.size.is_zero()).count();
        page.gauge("holdfast_positions", "Open positions.", i64::try_from(positions).unwrap_or(i64::MAX))?;
        page.gauge("holdfast_open_orders", "Resting orders.", i64::from(doc.exposure.open_orders))?;
    }
    page.gauge("holdfast_kill_active", "1 when the kill latch is set.", number(doc.kill.active))?;
    page.family(
        "holdfast_kill_state",
        "State of the kill or flatten job, one-hot.",
        "state",
        KILL_STATES.iter().map(|s| (*s, number(*s == doc.kill.state))),
    )?;
    page.family(
        "holdfast_venue_dead_man",
        "The venue's own dead-man switch, one-hot.",
        "state",
        VenueDeadMan::ALL.iter().map(|v| (v.as_str(), number(*v == doc.dead_man.venue))),
    )?;
    page.counter("holdfast_journal_events", "Events on the runtime bus.", doc.journal.events)?;
    page.gauge("holdfast_journal_durable", "1 when what happens reaches the disk.", number(doc.journal.durable))?;
    page.counter("holdfast_decisions_entries", "Entries of the decision journal.", doc.decisions.entries)?;
    page.gauge("holdfast_decisions_durable", "1 when the last entry reached the disk.", number(doc.decisions.durable))?;
    page.gauge(
        "holdfast_decisions_unsettled",
        "Intents whose outcome is not known yet.",
        i64::from(doc.decisions.unsettled),
    )
}

fn workers(page: &mut Page<'_>, snapshot: &Snapshot) -> fmt::Result {
    let all = &snapshot.doc.workers;
    page.family(
        "holdfast_worker_up",
        "1 when the worker is ready.",
        "role",
        all.iter().map(|w| (w.role.as_str(), number(w.state == "ready"))),
    )?;
    page.family(
        "holdfast_worker_probation",
        "1 when the worker restarted so recently that Active is not possible.",
        "role",
        all.iter().map(|w| (w.role.as_str(), number(w.probation))),
    )?;
    page.family(
        "holdfast_worker_restarts",
        "Deaths counted against the worker's budget.",
        "role",
        all.iter().map(|w| (w.role.as_str(), i64::from(w.restarts))),
    )?;
    page.family(
        "holdfast_worker_beat_age_milliseconds",
        "Age of the worker's last beat.",
        "role",
        all.iter().filter_map(|w| w.last_beat_ms.map(|ms| (w.role.as_str(), whole(ms)))),
    )
}
