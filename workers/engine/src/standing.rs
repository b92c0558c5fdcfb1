//! Standing causes: why the gate will refuse every opening for as long as something does not change. Pure.
//!
//! The gate itself decides at each signal ([`crate::gate`]); this only tells people, and restricts the mode where the
//! contract has a word for it, so that an engine that cannot open does not look as if it could. It permits nothing.

use crate::book::Book;
use crate::gate::Instrument;
use holdfast_core::money::Usd;
use holdfast_core::report::{Standing, StandingCause};
use holdfast_core::time::{Span, Tick};
use holdfast_ipc::settings::{LimitSettings, StrategySettings};

/// Attempts to close in a row that moved nothing before help is asked for.
pub const EXIT_TRIES: u32 = 3;
/// Holdings of others that are named.
const NAMED_MAX: usize = 4;
/// Longest detail in characters: names come from the venue.
const DETAIL_MAX: usize = 240;

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The boot clock.
    pub now: Tick,
    /// Own view of the account.
    pub book: &'a Book,
    /// The coin.
    pub instrument: Option<Instrument>,
    /// Requests left at the venue; absent = not known.
    pub requests_left: Option<u64>,
    /// Opening orders sent within the last minute.
    pub sent: usize,
    /// Attempts to close in a row that moved nothing.
    pub fruitless: u32,
    /// Limits.
    pub limits: &'a LimitSettings,
    /// Strategy parameters.
    pub strategy: &'a StrategySettings,
}

/// The most important standing cause, if there is one.
#[must_use]
pub fn standing(sight: &Sight<'_>) -> Option<Standing> {
    let told = |cause, detail: String| Standing { cause, detail: detail.chars().take(DETAIL_MAX).collect() };
    if sight.fruitless >= EXIT_TRIES {
        let detail = "an exit is not succeeding: `engine flatten` hands it to deadman, which has more ways to close";
        return Some(told(StandingCause::Exit, detail.to_owned()));
    }
    capital(sight)
        .map(|detail| told(StandingCause::Capital, detail))
        .or_else(|| other(sight).map(|detail| told(StandingCause::Other, detail)))
}

/// Capital that what this engine does not manage has used up.
fn capital(sight: &Sight<'_>) -> Option<String> {
    let account = sight.book.fresh(sight.now)?;
    let (limit, order, coin) = (sight.limits.exposure_usd, sight.strategy.order_usd, sight.strategy.coin.as_str());
    let others = || account.positions.iter().filter(|p| p.coin != coin && !p.size.is_zero());
    let resting = || account.orders.iter().filter(|o| !o.reduce_only);
    let held = others().try_fold(order, |sum, p| sum.checked_add(p.notional_usd.abs()));
    let all = resting().try_fold(held?, |sum, o| sum.checked_add(o.size.notional(o.px)?));
    if all.is_none_or(|all| all > limit) {
        let named = others().map(|p| format!("{} {}", p.coin, p.size));
        let named = named.chain(resting().map(|o| format!("an order of {} {}", o.coin, o.size)));
        let (first, count): (Vec<String>, usize) =
            (named.take(NAMED_MAX).collect(), others().count() + resting().count());
        let more = if count > first.len() { format!(" and {} more", count - first.len()) } else { String::new() };
        return Some(format!("exposure limit {limit} USD used up by {}{more}", first.join(", ")));
    }
    // With a position of our own its margin is in use, and nothing more is opened anyhow.
    let flat = sight.book.position(coin).is_some_and(holdfast_core::money::Szi::is_zero);
    let free = account.equity_usd.checked_sub(account.margin_used_usd).unwrap_or(Usd::ZERO);
    (flat && free < order).then(|| format!("free margin is below one order of {order} USD"))
}

fn other(sight: &Sight<'_>) -> Option<String> {
    let limits = sight.limits;
    if sight.instrument.is_some_and(|i| !i.unchanged) {
        return Some("the venue numbers or rounds the coin differently than when it was first traded here".to_owned());
    }
    if sight.instrument.is_some_and(|i| i.delisted) {
        return Some("the venue has delisted the coin".to_owned());
    }
    if sight.requests_left.is_some_and(|left| left < limits.exit_reserve_requests) {
        return Some("the requests that are left at the venue are kept for exits".to_owned());
    }
    let most = limits.orders_per_minute;
    if sight.sent >= usize::try_from(most).unwrap_or(usize::MAX) {
        return Some(format!("{most} orders were sent within a minute, which is the limit"));
    }
    None
}

/// When to say it: a new cause at once, its end only after it has stayed away, so that a price at the edge does not
/// make the mode flutter.
#[derive(Debug, Default)]
pub struct Teller {
    /// What was said last and when; `None` before anything was.
    told: Option<(Option<Standing>, Tick)>,
    gone_since: Option<Tick>,
}

/// A cause must have been away for so long.
const GONE_FOR: Span = Span::from_ms(5000);
/// Words that only change are said no more often.
const SAY_EVERY: Span = Span::from_ms(1000);

impl Teller {
    /// What must be said now, if anything; the caller confirms with [`Teller::said`].
    pub fn due(&mut self, seen: Option<&Standing>, now: Tick) -> bool {
        let Some((told, at)) = &self.told else { return true };
        match (told, seen) {
            (None, None) => false,
            (Some(_), None) => now.since(*self.gone_since.get_or_insert(now)) >= GONE_FOR,
            (told, Some(seen)) => {
                self.gone_since = None;
                told.as_ref() != Some(seen) && (told.is_none() || now.since(*at) >= SAY_EVERY)
            }
        }
    }

    /// It was said.
    pub fn said(&mut self, seen: Option<Standing>, now: Tick) {
        (self.told, self.gone_since) = (Some((seen, now)), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::report::{AccountView, OrderView, PositionView};
    use holdfast_venue_reduce::wire::PriceRule;

    fn at(ms: u64) -> Tick {
        Tick(ms * 1_000_000)
    }

    fn account(positions: &[(&str, &str, u32)], orders: &[(&str, bool)]) -> AccountView {
        let position = |(coin, size, usd): &(&str, &str, u32)| PositionView {
            dex: String::new(),
            coin: (*coin).to_owned(),
            size: size.parse().unwrap(),
            entry_px: None,
            mark_px: None,
            notional_usd: Usd::whole(*usd),
        };
        let order = |(coin, reduce_only): &(&str, bool)| OrderView {
            dex: String::new(),
            coin: (*coin).to_owned(),
            oid: 1,
            cloid: None,
            is_buy: true,
            px: "900".parse().unwrap(),
            size: "1".parse().unwrap(),
            reduce_only: *reduce_only,
        };
        AccountView {
            read_at: at(0),
            venue_ms: 1,
            equity_usd: Usd::whole(10_000),
            margin_used_usd: Usd::ZERO,
            positions: positions.iter().map(position).collect(),
            orders: orders.iter().map(order).collect(),
            requests_left: None,
        }
    }

    fn judge(view: AccountView, change: fn(&mut Sight<'_>)) -> Option<(StandingCause, String)> {
        let mut book = Book::default();
        book.on_account(view);
        let rule = PriceRule::perp(5).unwrap();
        let (limits, strategy) = (LimitSettings::default(), StrategySettings::default());
        let mut sight = Sight {
            now: at(1),
            book: &book,
            instrument: Some(Instrument { rule, delisted: false, unchanged: true }),
            requests_left: Some(9000),
            sent: 0,
            fruitless: 0,
            limits: &limits,
            strategy: &strategy,
        };
        change(&mut sight);
        standing(&sight).map(|s| (s.cause, s.detail))
    }

    #[test]
    fn what_others_hold_uses_the_limit_up_and_what_is_ours_does_not() {
        let same: fn(&mut Sight<'_>) = |_| {};
        let cause = |view| judge(view, same).map(|(cause, _)| cause);
        assert_eq!(cause(account(&[("BTC", "0.1", 6000)], &[])), None, "ours to manage");
        assert_eq!(cause(account(&[("ETH", "0.1", 300)], &[("ETH", true)])), None, "one more order fits");
        assert_eq!(cause(account(&[], &[("SOL", false)])), Some(StandingCause::Capital), "it may fill");
        let five: Vec<(&str, &str, u32)> = ["A", "B", "C", "D", "E"].map(|coin| (coin, "-0.5", 900)).to_vec();
        let (cause, detail) = judge(account(&five, &[]), same).unwrap();
        assert_eq!(cause, StandingCause::Capital);
        assert_eq!(detail, "exposure limit 1000 USD used up by A -0.5, B -0.5, C -0.5, D -0.5 and 1 more");
        let (_, long) = judge(account(&[("X".repeat(5000).as_str(), "1", 9999)], &[]), same).unwrap();
        assert_eq!(long.chars().count(), DETAIL_MAX);
    }

    #[test]
    fn every_other_cause_is_named() {
        type Change = fn(&mut Sight<'_>);
        let rows: [(Change, StandingCause, &str); 5] = [
            (|s| s.fruitless = EXIT_TRIES, StandingCause::Exit, "engine flatten"),
            (
                |s| s.instrument = s.instrument.map(|i| Instrument { unchanged: false, ..i }),
                StandingCause::Other,
                "rounds",
            ),
            (
                |s| s.instrument = s.instrument.map(|i| Instrument { delisted: true, ..i }),
                StandingCause::Other,
                "delisted",
            ),
            (|s| s.requests_left = Some(0), StandingCause::Other, "kept for exits"),
            (|s| s.sent = 4096, StandingCause::Other, "within a minute"),
        ];
        for (change, cause, words) in rows {
            let (found, detail) = judge(account(&[], &[]), change).unwrap();
            assert_eq!(found, cause, "{detail}");
            assert!(detail.contains(words), "{detail}");
        }
        assert_eq!(
            judge(account(&[("ETH", "9", 9999)], &[]), |s| s.now = at(60_000)),
            None,
            "an old reading judges nothing"
        );
        let poor = AccountView { equity_usd: Usd::whole(10), ..account(&[], &[]) };
        assert!(judge(poor, |_| {}).unwrap().1.contains("free margin"));
    }

    #[test]
    fn a_cause_is_said_at_once_and_its_end_only_when_it_stays_away() {
        let cause = Standing { cause: StandingCause::Capital, detail: "a".to_owned() };
        let other = Standing { detail: "b".to_owned(), ..cause.clone() };
        let mut teller = Teller::default();
        assert!(teller.due(None, at(0)), "a new process says where it stands");
        teller.said(None, at(0));
        assert!(!teller.due(None, at(1)) && teller.due(Some(&cause), at(1)));
        teller.said(Some(cause.clone()), at(1));
        assert!(
            !teller.due(Some(&cause), at(9)) && !teller.due(Some(&other), at(9)) && teller.due(Some(&other), at(1001))
        );
        assert!(!teller.due(None, at(2000)) && !teller.due(None, at(6999)));
        assert!(!teller.due(Some(&cause), at(6999)), "back again: the count starts anew");
        assert!(!teller.due(None, at(7001)) && teller.due(None, at(12_001)));
    }
}
