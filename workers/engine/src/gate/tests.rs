//! Every reason the gate can give, reached by changing one fact of a good case.

use super::*;
use crate::loss::Guard;
use holdfast_core::ids::Epoch;
use holdfast_core::report::{AccountView, OrderView, PositionView};
use holdfast_store::journal::{Entry, Intent};

const NOW: Tick = Tick(100_000_000_000);
const DAY_MS: u64 = 1_790_000_000_000;

#[derive(Clone)]
struct Case {
    permit: bool,
    reconciled: bool,
    journal_healthy: bool,
    memory: Memory,
    account: Option<AccountView>,
    executed: Option<&'static str>,
    market: Option<MarketView>,
    instrument: Option<Instrument>,
    guard: Guard,
    in_flight_usd: Usd,
    sent: VecDeque<Tick>,
    requests_left: Option<u64>,
    limits: LimitSettings,
    strategy: StrategySettings,
}

fn usd(n: u32) -> Usd {
    Usd::whole(n)
}

fn quote(bid: &str, ask: &str) -> MarketView {
    MarketView {
        coin: "BTC".to_owned(),
        state: MarketState::Fresh,
        venue_ms: DAY_MS,
        received: NOW,
        bid: Some((bid.parse().unwrap(), "1".parse().unwrap())),
        ask: Some((ask.parse().unwrap(), "1".parse().unwrap())),
        mark: None,
        skew_ms: 0,
    }
}

fn position(coin: &str, size: &str, notional: u32) -> PositionView {
    PositionView {
        dex: String::new(),
        coin: coin.to_owned(),
        size: size.parse().unwrap(),
        entry_px: None,
        mark_px: None,
        notional_usd: usd(notional),
    }
}

fn resting(notional_px: &str, reduce_only: bool) -> OrderView {
    OrderView {
        dex: String::new(),
        coin: "ETH".to_owned(),
        oid: 1,
        cloid: None,
        is_buy: true,
        px: notional_px.parse().unwrap(),
        size: "1".parse().unwrap(),
        reduce_only,
    }
}

fn good() -> Case {
    let mut guard = Guard::default();
    guard.on_equity(usd(10_000), DAY_MS, usd(250), Epoch(1));
    Case {
        permit: true,
        reconciled: true,
        journal_healthy: true,
        memory: Memory::default(),
        account: Some(AccountView {
            read_at: NOW,
            venue_ms: DAY_MS,
            equity_usd: usd(10_000),
            margin_used_usd: Usd::ZERO,
            positions: Vec::new(),
            orders: Vec::new(),
            requests_left: Some(9000),
        }),
        executed: None,
        market: Some(quote("60000", "60001")),
        instrument: Some(Instrument { rule: PriceRule::perp(5).unwrap(), delisted: false, unchanged: true }),
        guard,
        in_flight_usd: Usd::ZERO,
        sent: VecDeque::new(),
        requests_left: Some(9000),
        limits: LimitSettings::default(),
        strategy: StrategySettings::default(),
    }
}

fn run(case: &Case, is_buy: bool) -> Result<OpenIntent, RejectReason> {
    let mut book = Book::default();
    if let Some(view) = &case.account {
        book.on_account(view.clone());
    }
    if let Some(moved) = case.executed {
        book.on_executed("BTC", moved.parse().unwrap(), NOW);
    }
    let facts = Facts {
        now: NOW,
        permit: case.permit,
        reconciled: case.reconciled,
        journal_healthy: case.journal_healthy,
        memory: &case.memory,
        book: &book,
        market: case.market.as_ref(),
        instrument: case.instrument,
        guard: &case.guard,
        in_flight_usd: case.in_flight_usd,
        sent: &case.sent,
        requests_left: case.requests_left,
        limits: &case.limits,
        strategy: &case.strategy,
        account: "0xab",
        bar_begins_ms: DAY_MS,
    };
    check(&facts, is_buy)
}

fn journaled(case: &mut Case, settled: bool) {
    let open = run(&good(), true).unwrap();
    let intent = Intent {
        key: open.key().key.clone(),
        cloid: open.key().cloid.clone(),
        coin: "BTC".to_owned(),
        is_buy: true,
        size: open.size(),
        px: open.px(),
        kind: IntentKind::Open,
        expires_after_ms: 1,
        epoch: Epoch(1),
        position_before: Szi::FLAT,
    };
    case.memory.apply(&Entry::Intent(intent.clone()));
    if settled {
        case.memory.apply(&Entry::Settled { cloid: intent.cloid, how: String::new() });
    }
}

#[test]
fn a_good_case_is_legal_and_inside_every_bound() {
    for is_buy in [true, false] {
        let open = run(&good(), is_buy).unwrap();
        let rule = PriceRule::perp(5).unwrap();
        assert!(rule.is_legal(open.px()) && rule.is_legal_size(open.size()));
        assert!(open.notional() <= usd(200) && open.notional() > usd(199));
        let (low, high): (Px, Px) = ("59880".parse().unwrap(), "60121".parse().unwrap());
        assert!(if is_buy { open.px() <= high } else { open.px() >= low }, "{}", open.px());
    }
}

#[test]
fn every_reason_is_reachable_by_one_changed_fact() {
    type Change = fn(&mut Case);
    let cases: &[(&str, RejectReason, Change)] = &[
        ("no permit", RejectReason::PermitMissingOrExpired, |c| c.permit = false),
        ("not reconciled", RejectReason::OpenPermissionLatched, |c| c.reconciled = false),
        ("journal", RejectReason::RecordedBeforeDispatchFailed, |c| c.journal_healthy = false),
        ("unknown outcome", RejectReason::FeedbackLoopGuardActive, |c| journaled(c, false)),
        ("own order not yet read back", RejectReason::FeedbackLoopGuardActive, |c| c.executed = Some("0.1")),
        ("too many orders", RejectReason::ChurnBreakerActive, |c| c.sent = vec![NOW; 20].into()),
        ("exit reserve", RejectReason::RateLimitBrownout, |c| c.requests_left = Some(199)),
        ("quota unknown", RejectReason::RateLimitBrownout, |c| c.requests_left = None),
        ("no metadata", RejectReason::InstrumentMetadataMissing, |c| c.instrument = None),
        ("metadata changed", RejectReason::InstrumentMetadataMissing, |c| {
            c.instrument = c.instrument.map(|i| Instrument { unchanged: false, ..i });
        }),
        ("delisted", RejectReason::InstrumentExpiredOrDelisted, |c| {
            c.instrument = c.instrument.map(|i| Instrument { delisted: true, ..i });
        }),
        ("no market", RejectReason::LiquidityGateNoL2, |c| c.market = None),
        ("crossed", RejectReason::LiquidityGateNoL2, |c| c.market = Some(quote("60001", "60001"))),
        ("one side", RejectReason::LiquidityGateNoL2, |c| {
            c.market = Some(MarketView { ask: None, ..quote("60000", "60001") });
        }),
        ("not believable", RejectReason::LiquidityGateNoL2, |c| {
            c.market = Some(MarketView { state: MarketState::Unbelievable, ..quote("60000", "60001") });
        }),
        ("old market", RejectReason::LiquidityGateNoL2, |c| {
            c.market = Some(MarketView { received: Tick(NOW.0 - 3_000_000_001), ..quote("60000", "60001") });
        }),
        ("wide", RejectReason::ExpectedSlippageTooHigh, |c| c.market = Some(quote("60000", "60200"))),
        ("no price inside the bound", RejectReason::NetEdgeInputMissing, |c| {
            c.instrument = c.instrument.map(|i| Instrument { rule: PriceRule::perp(0).unwrap(), ..i });
            c.market = Some(quote("79228162514264337593543950334", "79228162514264337593543950335"));
        }),
        ("below the minimum", RejectReason::TooSmallAfterQuantization, |c| {
            c.strategy.order_usd = "9.99".parse().unwrap();
        }),
        ("rounds to nothing", RejectReason::TooSmallAfterQuantization, |c| {
            c.instrument = c.instrument.map(|i| Instrument { rule: PriceRule::perp(0).unwrap(), ..i });
        }),
        ("sent before", RejectReason::DuplicateIntentId, |c| journaled(c, true)),
        ("order limit", RejectReason::GlobalExposureBudgetExceeded, |c| c.limits.order_usd = usd(100)),
        ("account unknown", RejectReason::FeedbackLoopGuardActive, |c| c.account = None),
        ("account old", RejectReason::MarginHeadroomRejectOpens, |c| {
            c.account = c.account.take().map(|a| AccountView { read_at: Tick(NOW.0 - 5_000_000_001), ..a });
        }),
        ("no baseline", RejectReason::MarginHeadroomRejectOpens, |c| c.guard = Guard::default()),
        ("loss limit", RejectReason::MarginHeadroomRejectOpens, |c| {
            c.guard.on_equity(usd(9_750), DAY_MS, usd(250), Epoch(1));
        }),
        ("margin", RejectReason::MarginHeadroomRejectOpens, |c| {
            c.account = c.account.take().map(|a| AccountView { margin_used_usd: usd(9_900), ..a });
        }),
        ("already in", RejectReason::InventorySkew, |c| {
            c.account.as_mut().unwrap().positions.push(position("BTC", "0.001", 60));
        }),
        ("exposure", RejectReason::GlobalExposureBudgetExceeded, |c| {
            c.account.as_mut().unwrap().positions.push(position("ETH", "-1", 900));
        }),
        ("in flight", RejectReason::PendingExposureBudgetExceeded, |c| c.in_flight_usd = usd(801)),
        ("resting", RejectReason::PendingExposureBudgetExceeded, |c| {
            c.account.as_mut().unwrap().orders.push(resting("900", false));
        }),
    ];
    for (name, reason, change) in cases {
        let mut case = good();
        change(&mut case);
        assert_eq!(run(&case, true).err(), Some(*reason), "{name}");
    }
}

#[test]
fn what_only_reduces_does_not_count_as_pending() {
    let mut case = good();
    case.account.as_mut().unwrap().orders.push(resting("900", true));
    assert!(run(&case, true).is_ok());
}

#[test]
fn orders_older_than_a_minute_are_forgotten() {
    let mut case = good();
    case.sent = vec![Tick(NOW.0 - 60_000_000_000); 20].into();
    assert!(run(&case, true).is_ok());
}
