//! The mind under a clock that is passed in.

use super::closing::CLOSE_RETRY_MAX;
use super::*;
use holdfast_core::report::{PositionView, StandingCause};
use holdfast_venue_reduce::wire::PriceRule;

const MS: u64 = 1_000_000;
const T0: u64 = 1_790_000_000_000;

fn at(ms: u64) -> Tick {
    Tick(ms * MS)
}

fn settings() -> StrategySettings {
    StrategySettings { fast_bars: 2, slow_bars: 4, enter_bps: 10, hold_bars: 6, ..StrategySettings::default() }
}

fn quote(ms: u64, px: u32) -> MarketView {
    let side = |px: u32| Some((px.to_string().parse().unwrap(), "1".parse().unwrap()));
    MarketView {
        coin: "BTC".to_owned(),
        state: MarketState::Fresh,
        venue_ms: T0 + ms,
        received: at(ms),
        bid: side(px),
        ask: side(px + 1),
        mark: None,
        skew_ms: 0,
    }
}

fn account(ms: u64, size: &str, entry: u32) -> AccountView {
    let position = PositionView {
        dex: String::new(),
        coin: "BTC".to_owned(),
        size: size.parse().unwrap(),
        entry_px: entry.to_string().parse().ok(),
        mark_px: None,
        notional_usd: Usd::ZERO,
    };
    AccountView {
        read_at: at(ms),
        venue_ms: T0 + ms,
        equity_usd: Usd::whole(10_000),
        margin_used_usd: Usd::ZERO,
        positions: vec![position],
        orders: Vec::new(),
        requests_left: Some(9000),
    }
}

struct Given {
    mind: Mind,
    memory: Memory,
    permit: bool,
    idle: bool,
}

impl Given {
    /// Everything that opening needs, except a signal.
    fn ready() -> Self {
        let mut mind = Mind::new(&settings(), &LimitSettings::default(), "0xab", Epoch(1), Some(Guard::default()));
        mind.on_account(account(0, "0", 60_000));
        let stored = mind.guard().cloned().unwrap();
        mind.on_guard_stored(&stored);
        let rule = PriceRule::perp(5).unwrap();
        mind.on_reconciled(true, Some(Instrument { rule, delisted: false, unchanged: true }), None);
        Self { mind, memory: Memory::default(), permit: true, idle: true }
    }

    fn market(&mut self, ms: u64, px: u32) -> Option<Wish> {
        let around = Surroundings {
            now: at(ms),
            permit: self.permit,
            journal_healthy: true,
            memory: &self.memory,
            idle: self.idle,
        };
        self.mind.on_market(quote(ms, px), &around)
    }

    /// Rising prices until a signal; what came of the bar that gave it.
    fn signal(&mut self) -> Wish {
        for n in 0..10 {
            let ms = n * 1000;
            self.mind.on_account(account(ms, "0", 60_000));
            let wish = self.market(ms + 1, 60_000 + u32::try_from(n).unwrap() * 100);
            match wish {
                Some(Wish::Tell(draft, None)) => assert!(draft.detail.contains("warming up"), "{draft:?}"),
                Some(other) => return other,
                None => assert_eq!(n, 0, "every later bar is told of"),
            }
        }
        panic!("no signal")
    }

    fn held(ms: u64, size: &str, entry: u32) -> Self {
        let mut given = Self::ready();
        given.mind.book = Book::default();
        given.mind.on_account(account(ms, size, entry));
        given
    }
}

fn reason(wish: &Wish) -> Option<RejectReason> {
    match wish {
        Wish::Tell(_, reason) => *reason,
        Wish::Open(..) => None,
    }
}

#[test]
fn a_signal_opens_only_with_everything_in_place() {
    assert!(matches!(Given::ready().signal(), Wish::Open(..)));
    type Change = fn(&mut Given);
    let cases: &[(RejectReason, Change)] = &[
        (RejectReason::PermitMissingOrExpired, |g| g.permit = false),
        (RejectReason::FeedbackLoopGuardActive, |g| g.idle = false),
        (RejectReason::OpenPermissionLatched, |g| g.mind.void_reconciled()),
        (RejectReason::MarginHeadroomRejectOpens, |g| g.mind.void_guard_stored()),
        (RejectReason::MarginHeadroomRejectOpens, |g| g.mind.guard = None),
        (RejectReason::FeedbackLoopGuardActive, |g| {
            g.mind.closing = Some(Closing { why: Why::Stop, attempt: 0, due: at(0), draft: None, fruitless: 0 });
        }),
    ];
    for (expect, change) in cases {
        let mut given = Given::ready();
        change(&mut given);
        assert_eq!(reason(&given.signal()), Some(*expect));
    }
}

#[test]
fn orders_are_counted_when_they_are_decided() {
    let mut given = Given::ready();
    given.mind.limits.orders_per_minute = 1;
    assert!(matches!(given.signal(), Wish::Open(..)));
    let again = given.market(9001, 61_500).or_else(|| given.market(10_001, 61_700)).unwrap();
    assert_eq!(reason(&again), Some(RejectReason::ChurnBreakerActive));
}

#[test]
fn a_stop_between_bars_closes_and_is_tried_again_wider_until_flat() {
    let mut given = Given::held(0, "0.01", 60_000);
    given.permit = false;
    assert_eq!(given.mind.close_due(at(1)), None);
    given.market(100, 59_000);
    let first = given.mind.close_due(at(100)).unwrap();
    assert_eq!((first.why, first.attempt), (Why::Stop, 0));
    assert!(first.draft.is_some(), "the first attempt is told");
    given.mind.on_close_end(CloseEnd::Again, false, at(200));
    assert_eq!(given.mind.close_due(at(300)), None, "not before its pause");
    let second = given.mind.close_due(at(200 + 500)).unwrap();
    assert_eq!((second.attempt, second.draft), (1, None));
    given.mind.on_close_end(CloseEnd::Throttled, false, at(1000));
    assert_eq!(given.mind.close_due(at(12_000)), None);
    assert!(given.mind.close_due(at(12_500)).is_some());
    given.mind.on_close_end(CloseEnd::Flat, false, at(12_600));
    assert_eq!(given.mind.close_due(at(99_000)), None);
}

#[test]
fn an_exit_that_moves_nothing_asks_for_help_and_one_that_moves_does_not() {
    let mut given = Given::held(0, "0.01", 60_000);
    given.market(100, 59_000);
    let help = |given: &Given| given.mind.standing(at(100)).is_some_and(|s| s.cause == StandingCause::Exit);
    for (moved, asks) in [(false, false), (false, false), (true, false), (false, false), (false, false), (false, true)]
    {
        given.mind.close_due(at(99_000)).unwrap();
        given.mind.on_close_end(CloseEnd::Again, moved, at(200));
        assert_eq!(help(&given), asks);
    }
    given.mind.on_close_end(CloseEnd::Flat, true, at(300));
    assert!(!help(&given));
}

#[test]
fn the_pause_between_attempts_is_bounded() {
    let mut given = Given::held(0, "-0.01", 60_000);
    given.market(100, 61_500);
    let mut now = at(100);
    for _ in 0..50 {
        given.mind.close_due(now).unwrap();
        given.mind.on_close_end(CloseEnd::Again, false, now);
        now = now.after(CLOSE_RETRY_MAX);
    }
}

#[test]
fn prices_that_are_not_believable_close_no_bar_and_stop_nothing_out() {
    let mut given = Given::held(0, "0.01", 60_000);
    for state in [MarketState::Stale, MarketState::Crossed, MarketState::Unbelievable, MarketState::Gap] {
        let around =
            Surroundings { now: at(100), permit: true, journal_healthy: true, memory: &given.memory, idle: true };
        let flash = MarketView { state, ..quote(100, 1000) };
        assert_eq!(given.mind.on_market(flash, &around), None);
        assert_eq!(given.mind.close_due(at(200)), None, "{state:?}");
    }
    let around = Surroundings { now: at(100), permit: true, journal_healthy: true, memory: &given.memory, idle: true };
    let other = MarketView { coin: "ETH".to_owned(), ..quote(100, 1000) };
    given.mind.on_market(other, &around);
    assert_eq!(given.mind.close_due(at(200)), None);
}

#[test]
fn with_a_silent_feed_a_held_position_is_looked_after() {
    let mut given = Given::held(0, "0.01", 60_000);
    given.market(0, 60_000);
    assert!(!given.mind.look_due(at(3000)), "the feed is still fresh");
    assert!(given.mind.look_due(at(3001)));
    assert!(!given.mind.look_due(at(3500)), "not all the time");
    assert!(given.mind.look_due(at(4001)));
    let (bid, ask) = ("60000".parse().unwrap(), "60001".parse().unwrap());
    given.mind.on_looked(bid, ask, T0 + 5000, at(5000));
    assert_eq!(given.mind.close_due(at(5000)), None);
    given.mind.on_looked(bid, ask, T0 + 7000, at(7000));
    assert_eq!(given.mind.close_due(at(7000)).map(|c| c.why), Some(Why::Hold), "held long enough by venue time");
    let mut flat = Given::ready();
    flat.market(0, 60_000);
    assert!(!flat.mind.look_due(at(60_000)), "nothing held, nothing to look after");
}

#[test]
fn a_position_found_at_the_start_is_managed() {
    let mut given = Given::held(0, "0.01", 60_000);
    for n in 0..9 {
        given.market(n * 1000, 60_000);
    }
    assert_eq!(given.mind.close_due(at(9000)).map(|c| c.why), Some(Why::Hold));
}

#[test]
fn a_breach_is_told_once_and_must_be_stored() {
    let mut given = Given::ready();
    let poor = AccountView { equity_usd: Usd::whole(9_700), ..account(10, "0", 60_000) };
    assert_eq!(given.mind.on_account(poor.clone()).1, Change::Breached);
    assert!(given.mind.guard_unstored());
    assert_eq!(given.mind.on_account(AccountView { read_at: at(20), ..poor }).1, Change::None);
    assert!(given.mind.guard().unwrap().breach().is_some());
}
