//! The ladder against a little model venue, and its promises under random trouble.

use super::*;
use holdfast_core::money::{Px, Sz, Szi};
use proptest::prelude::*;
use std::collections::VecDeque;

const fn ms(ms: u64) -> Tick {
    Tick(ms * 1_000_000)
}

fn szi(units: i64) -> Szi {
    units.to_string().parse().unwrap()
}

fn units(size: Szi) -> i64 {
    size.to_string().parse().unwrap()
}

fn market(dex: &str, coin: &str) -> Market {
    Market { dex: dex.to_owned(), coin: coin.to_owned() }
}

/// What the venue does to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    /// A read fails; an action is not executed and not answered.
    Lost,
    /// An action is executed, its answer lost.
    AnswerLost,
    /// An action arrives this much later than it was answered (unknown), if its expiry allows.
    Late,
    /// Only half of it fills.
    Partial,
    /// Nothing inside the bound.
    NoMatch,
    Throttled,
    Quota,
    PostOnly,
    Odd,
    /// A resting order of somebody appears before the call.
    Foreign,
    /// A position appears before the call, on the second dex.
    Hidden,
    /// The answer comes after its expiry: refused.
    Expired,
}

struct Model {
    now: Tick,
    venue_ms: u64,
    held: BTreeMap<Market, i64>,
    live: Vec<Live>,
    next_oid: u64,
    /// Closes still on their way: when they execute.
    late: Vec<(Tick, Market, i64)>,
    script: VecDeque<Trouble>,
    /// What happens when the script is over, and until when.
    after: Option<(Trouble, Tick)>,
    last_reading: Option<Reading>,
    pending_unknown: Option<Tick>,
    log: Vec<String>,
}

impl Model {
    fn new(held: &[(Market, i64)], script: &[Trouble]) -> Self {
        Self {
            now: ms(1000),
            venue_ms: 1_790_000_000_000,
            held: held.iter().cloned().collect(),
            live: Vec::new(),
            next_oid: 1,
            late: Vec::new(),
            script: script.iter().copied().collect(),
            after: None,
            last_reading: None,
            pending_unknown: None,
            log: Vec::new(),
        }
    }

    fn rest(&mut self, market: Market, size: i64, reduce_only: bool, trigger: bool, px: Option<Px>) {
        let oid = self.next_oid;
        self.next_oid += 1;
        let sz: Sz = size.unsigned_abs().to_string().parse().unwrap();
        self.live.push(Live { market, oid, is_buy: size > 0, px, size: sz, reduce_only, trigger });
    }

    /// Executes a reduce-only order; the venue shrinks it, and nothing may ever grow.
    fn fill(&mut self, market: &Market, order: i64) {
        let position = self.held.entry(market.clone()).or_insert(0);
        if *position == 0 || (*position > 0) == (order > 0) {
            return;
        }
        let before = *position;
        let part = order.abs().min(before.abs());
        *position -= before.signum() * part;
        assert!(!szi(before).increases_to(szi(*position)), "{before} to {position}");
    }

    fn advance(&mut self, to: Tick) {
        self.venue_ms += to.since(self.now).as_ms();
        self.now = self.now.max(to);
        let now = self.now;
        let due: Vec<_> = self.late.iter().filter(|(at, _, _)| *at <= now).cloned().collect();
        self.late.retain(|(at, _, _)| *at > now);
        for (_, market, order) in due {
            self.fill(&market, order);
        }
    }

    fn trouble(&mut self) -> Trouble {
        let trouble = self.script.pop_front().unwrap_or_else(|| match self.after {
            Some((trouble, until)) if self.now < until => trouble,
            Some(_) | None => Trouble::None,
        });
        match trouble {
            Trouble::Foreign => self.rest(market("", "ETH"), 3, false, false, "5".parse().ok()),
            Trouble::Hidden => *self.held.entry(market("alt", "XYZ")).or_insert(0) -= 4,
            Trouble::None
            | Trouble::Lost
            | Trouble::AnswerLost
            | Trouble::Late
            | Trouble::Partial
            | Trouble::NoMatch
            | Trouble::Throttled
            | Trouble::Quota
            | Trouble::PostOnly
            | Trouble::Odd
            | Trouble::Expired => {}
        }
        trouble
    }

    fn reading(&self) -> Reading {
        let held = self.held.iter().filter(|(_, size)| **size != 0);
        Reading {
            sent: self.now,
            venue_ms: self.venue_ms,
            held: held.map(|(market, size)| Held { market: market.clone(), size: szi(*size) }).collect(),
            live: self.live.clone(),
        }
    }

    fn perform(&mut self, next: Next) -> Event {
        let trouble = if matches!(next, Next::Wait(_)) { Trouble::None } else { self.trouble() };
        self.log.push(format!("{:>6} {trouble:?} {}", self.now.0 / 1_000_000, brief(&next)));
        // Every call takes a millisecond, an unanswered one the client's deadline.
        match next {
            Next::Read => {
                let lost = (trouble == Trouble::Lost).then(|| ReadFailed::Other("lost".to_owned()));
                let failed = lost.or((trouble == Trouble::Throttled).then_some(ReadFailed::Throttled));
                let reading = self.reading();
                self.advance(self.now.after(Span::from_ms(1)));
                match failed {
                    Some(failed) => Event::Read(Err(failed)),
                    None => {
                        self.last_reading = Some(reading.clone());
                        Event::Read(Ok(reading))
                    }
                }
            }
            Next::Cancel { orders, .. } => {
                let executed = !matches!(trouble, Trouble::Lost | Trouble::Quota | Trouble::Odd | Trouble::Expired);
                if executed {
                    self.live.retain(|live| orders.iter().all(|order| order.oid != live.oid));
                }
                self.advance(self.now.after(Span::from_ms(1)));
                let said = match trouble {
                    Trouble::Lost | Trouble::AnswerLost | Trouble::Late => Said::Unknown,
                    Trouble::Quota => Said::Refused(Objection::Quota),
                    Trouble::Odd => Said::Refused(Objection::Other),
                    Trouble::Expired => Said::Refused(Objection::Expired),
                    Trouble::None
                    | Trouble::Partial
                    | Trouble::NoMatch
                    | Trouble::Throttled
                    | Trouble::PostOnly
                    | Trouble::Foreign
                    | Trouble::Hidden => Said::Accepted,
                };
                Event::Cancelled { said: vec![said; orders.len()], words: None }
            }
            Next::Close { orders, valid } => {
                self.check_closes(&orders);
                let sent = self.now;
                let mut said = Vec::new();
                for close in &orders {
                    said.push(self.close(close, trouble, sent.after(valid)));
                }
                let unknown = said.contains(&Said::Unknown);
                if unknown {
                    self.pending_unknown = Some(sent.after(valid));
                }
                self.advance(self.now.after(Span::from_ms(if unknown { 900 } else { 1 })));
                Event::Closed { said, words: None }
            }
            Next::Touch(markets) => {
                self.advance(self.now.after(Span::from_ms(1)));
                let px = |n: u64| (n + self.venue_ms / 2000 % 2).to_string().parse::<Px>().ok();
                let touches = markets.into_iter().map(|market| Touch { market, bid: px(99), ask: px(101) });
                Event::Touched(if trouble == Trouble::Lost { Vec::new() } else { touches.collect() })
            }
            Next::Wait(until) => {
                self.advance(until);
                Event::Timer
            }
            Next::Await | Next::Done => panic!("nothing is out"),
        }
    }

    /// The promise: exactly the position last read, once per market, nothing else of ours that could fill too.
    fn check_closes(&self, orders: &[Close]) {
        let reading = self.last_reading.as_ref().expect("a close follows a read");
        assert!(self.pending_unknown.is_none_or(|until| self.now >= until), "a close may still be on its way");
        for (place, close) in orders.iter().enumerate() {
            assert!(orders.iter().take(place).all(|earlier| earlier.market != close.market), "twice");
            let held = reading.held.iter().find(|held| held.market == close.market).expect("a held position");
            assert_eq!(held.size, close.position);
        }
    }

    fn close(&mut self, close: &Close, trouble: Trouble, expires: Tick) -> Said {
        let order = -units(close.position);
        match trouble {
            Trouble::Lost | Trouble::Throttled => Said::Unknown,
            Trouble::AnswerLost => {
                self.fill(&close.market, order);
                Said::Unknown
            }
            Trouble::Late => {
                let at = self.now.after(Span::from_ms(2000));
                if at <= expires {
                    self.late.push((at, close.market.clone(), order));
                }
                Said::Unknown
            }
            Trouble::Partial => {
                self.fill(&close.market, order / 2);
                Said::Accepted
            }
            Trouble::NoMatch => match close.how {
                How::Ioc { .. } => Said::Refused(Objection::NoMatch),
                How::Gtc { .. } | How::Alo { .. } => {
                    self.rest(close.market.clone(), order, true, false, None);
                    Said::Accepted
                }
            },
            Trouble::Quota => Said::Refused(Objection::Quota),
            Trouble::Odd => Said::Refused(Objection::Other),
            Trouble::Expired => Said::Refused(Objection::Expired),
            Trouble::PostOnly => match close.how {
                How::Ioc { .. } | How::Gtc { .. } => Said::Refused(Objection::PostOnly),
                How::Alo { px } => {
                    self.rest(close.market.clone(), order, true, false, Some(px));
                    Said::Accepted
                }
            },
            Trouble::None | Trouble::Foreign | Trouble::Hidden => match close.how {
                How::Ioc { .. } | How::Gtc { .. } => {
                    self.fill(&close.market, order);
                    Said::Accepted
                }
                How::Alo { px } => {
                    self.rest(close.market.clone(), order, true, false, Some(px));
                    Said::Accepted
                }
            },
        }
    }
}

fn brief(next: &Next) -> String {
    match next {
        Next::Read => "read".to_owned(),
        Next::Cancel { orders, .. } => format!("cancel {}", orders.len()),
        Next::Close { orders, .. } => {
            format!("close {:?}", orders.iter().map(|o| (units(o.position), o.how)).collect::<Vec<_>>())
        }
        Next::Touch(markets) => format!("touch {}", markets.len()),
        Next::Wait(until) => format!("wait until {}", until.0 / 1_000_000),
        Next::Await => "await".to_owned(),
        Next::Done => "done".to_owned(),
    }
}

/// Plays until done or until `limit`; answers the verdicts.
fn play(model: &mut Model, kind: JobKind, limit: Tick) -> (Vec<JobProgress>, bool) {
    let (mut ladder, mut turn) = Ladder::begin(model.now, JobId(7), kind);
    let mut verdicts = Vec::new();
    for _ in 0..100_000 {
        if let Some(said) = turn.say.take().filter(|said| said.state.is_verdict()) {
            if said.state == JobState::Flat {
                assert!(said.proof_venue_ms.is_some() && said.residue.is_empty());
                let reading = model.reading();
                assert!(reading.live.is_empty(), "said flat with orders open");
                assert!(kind == JobKind::CancelAll || reading.held.is_empty(), "said flat with {:?}", reading.held);
                assert!(model.late.is_empty(), "said flat with a close on its way");
            }
            verdicts.push(said);
        }
        if turn.next == Next::Done {
            return (verdicts, true);
        }
        if model.now > limit {
            return (verdicts, false);
        }
        let event = model.perform(turn.next);
        turn = ladder.step(model.now, event);
    }
    panic!("the ladder spins: {:#?}", model.log.iter().rev().take(40).collect::<Vec<_>>());
}

fn btc(size: i64) -> Vec<(Market, i64)> {
    vec![(market("", "BTC"), size)]
}

fn calls(model: &Model) -> Vec<String> {
    model.log.iter().map(|line| line.split_whitespace().skip(2).take(1).collect()).collect()
}

#[test]
fn the_fast_path_is_read_close_read_read_and_two_later_looks() {
    let held: Vec<_> = (0..50).map(|n| (market("", &format!("C{n}")), if n % 2 == 0 { 5 } else { -5 })).collect();
    let mut model = Model::new(&held, &[]);
    let (verdicts, done) = play(&mut model, JobKind::Flatten, ms(60_000));
    assert!(done);
    assert_eq!(verdicts.len(), 1);
    assert_eq!(verdicts[0].state, JobState::Flat);
    assert_eq!(calls(&model), ["read", "close", "read", "read", "wait", "read", "wait", "read"]);
}

#[test]
fn with_orders_it_cancels_and_reads_before_it_closes() {
    let mut model = Model::new(&btc(-5), &[]);
    model.rest(market("", "BTC"), -5, false, false, None);
    model.rest(market("alt", "XYZ"), 5, false, false, None);
    let (verdicts, done) = play(&mut model, JobKind::Flatten, ms(60_000));
    assert!(done && verdicts.len() == 1);
    assert_eq!(calls(&model)[..6], ["read", "cancel", "read", "close", "read", "read"]);
}

#[test]
fn protective_triggers_stay_until_the_position_is_gone() {
    let mut model = Model::new(&btc(5), &[]);
    model.rest(market("", "BTC"), -5, true, true, None);
    let (verdicts, done) = play(&mut model, JobKind::Flatten, ms(60_000));
    assert!(done && verdicts.len() == 1);
    assert_eq!(calls(&model)[..6], ["read", "close", "read", "cancel", "read", "read"]);
    // So many orders that the venue would refuse a close: they go first.
    let mut model = Model::new(&btc(5), &[]);
    (0..pace::ORDERS_CROWDED).for_each(|_| model.rest(market("", "BTC"), -5, true, true, None));
    assert!(play(&mut model, JobKind::Flatten, ms(60_000)).1);
    assert_eq!(calls(&model)[..4], ["read", "cancel", "read", "close"]);
}

#[test]
fn cancel_all_leaves_positions_and_says_so() {
    let mut model = Model::new(&btc(5), &[]);
    model.rest(market("", "BTC"), 5, false, false, None);
    model.rest(market("", "BTC"), -5, true, true, None);
    let (verdicts, done) = play(&mut model, JobKind::CancelAll, ms(60_000));
    assert!(done);
    assert!(verdicts[0].detail.contains("1 positions untouched"), "{}", verdicts[0].detail);
    assert_eq!(model.held.values().sum::<i64>(), 5);
}

/// Scripts by call, from the first read on, and how they must end.
#[test]
fn troubles() {
    use Trouble::*;
    let cases: [(&str, &[Trouble], &[&str]); 9] = [
        (
            "partial fills are followed by wider bounds",
            &[None, Partial, None, Partial],
            &["read", "close", "read", "close", "read", "close"],
        ),
        (
            "nothing matches: wider, wider, resting, then a verdict",
            &[None, NoMatch, None, NoMatch, None, NoMatch, None, NoMatch],
            &["read", "close", "read", "close", "read", "close", "read", "close", "wait", "read"],
        ),
        (
            "an unanswered close that executed",
            &[None, AnswerLost],
            &["read", "close", "read", "wait", "read", "wait", "read"],
        ),
        ("an unanswered close that never arrived", &[None, Lost], &["read", "close", "read", "wait", "read", "close"]),
        (
            "an unanswered close that arrives late",
            &[None, Late],
            &["read", "close", "read", "wait", "read", "wait", "read"],
        ),
        ("the quota is spent", &[None, Quota], &["read", "close", "wait", "read", "close", "read", "read"]),
        ("expired on arrival: the same rung again", &[None, Expired], &["read", "close", "read", "close"]),
        ("only post-only", &[None, PostOnly], &["read", "close", "read", "touch", "close", "wait", "read"]),
        ("unreadable", &[Lost, Throttled], &["read", "wait", "read", "wait", "read", "close"]),
    ];
    for (name, script, wanted) in cases {
        let mut model = Model::new(&btc(8), script);
        let limit = ms(300_000);
        let (verdicts, done) = play(&mut model, JobKind::Flatten, limit);
        let got = calls(&model);
        assert_eq!(got.iter().take(wanted.len()).map(String::as_str).collect::<Vec<_>>(), wanted, "{name}");
        if name != "only post-only" {
            assert!(done, "{name}: {:#?}", model.log);
        }
        assert!(!verdicts.is_empty(), "{name}");
    }
}

#[test]
fn a_long_post_only_window_is_followed_at_the_touch_shown_and_outlived() {
    let mut model = Model::new(&btc(8), &[]);
    model.after = Some((Trouble::PostOnly, ms(120_000)));
    let (verdicts, done) = play(&mut model, JobKind::Flatten, ms(300_000));
    assert!(done, "{:#?}", model.log);
    let not_flat = verdicts.iter().filter(|v| v.state == JobState::NotFlat).count();
    assert!((3..40).contains(&not_flat), "{not_flat}");
    assert!(verdicts.iter().all(|v| v.state != JobState::NotFlat || !v.residue.is_empty()));
    assert_eq!(verdicts.last().map(|v| v.state), Some(JobState::Flat));
    assert!(model.log.len() < 1000, "no spin: {}", model.log.len());
}

#[test]
fn an_unreadable_venue_is_a_loud_verdict_without_residue_and_is_tried_on() {
    let mut model = Model::new(&btc(8), &[]);
    model.after = Some((Trouble::Lost, ms(40_000)));
    let (verdicts, done) = play(&mut model, JobKind::Flatten, ms(100_000));
    assert!(done);
    assert!(verdicts.len() >= 3);
    let (last, before) = verdicts.split_last().unwrap();
    assert_eq!(last.state, JobState::Flat);
    assert!(before.iter().all(|v| v.state == JobState::NotFlat && v.residue.is_empty()));
}

#[test]
fn what_appears_after_the_proof_is_removed_and_proven_again() {
    // read close read read | wait, read: a position has appeared
    let script = [Trouble::None, Trouble::None, Trouble::None, Trouble::None, Trouble::Hidden];
    let mut model = Model::new(&btc(8), &script);
    let (verdicts, done) = play(&mut model, JobKind::Flatten, ms(60_000));
    assert!(done);
    assert_eq!(
        verdicts.iter().map(|v| (v.state, v.round)).collect::<Vec<_>>(),
        [(JobState::Flat, 1), (JobState::Flat, 2)]
    );
}

#[test]
fn a_venue_whose_clock_stands_still_proves_nothing() {
    let (mut ladder, mut turn) = Ladder::begin(ms(0), JobId(1), JobKind::Flatten);
    let mut now = ms(0);
    let mut verdicts = Vec::new();
    while now < ms(60_000) {
        verdicts.extend(turn.say.filter(|said| said.state.is_verdict()).map(|said| said.state));
        let event = if let Next::Wait(until) = turn.next {
            now = until;
            Event::Timer
        } else {
            now = now.after(Span::from_ms(1));
            Event::Read(Ok(Reading { sent: now, venue_ms: 5, held: Vec::new(), live: Vec::new() }))
        };
        turn = ladder.step(now, event);
    }
    assert_eq!(verdicts, [JobState::NotFlat]);
}

#[test]
fn a_newer_job_drops_a_read_that_is_out_and_waits_for_an_action_that_is_out() {
    let (mut ladder, turn) = Ladder::begin(ms(0), JobId(1), JobKind::CancelAll);
    assert_eq!(turn.next, Next::Read);
    let turn = ladder.renew(ms(1), JobId(2), JobKind::Flatten);
    assert_eq!((turn.next, turn.say.map(|said| said.job)), (Next::Read, Some(JobId(2))));
    let read = |at, held: &[Held]| {
        Event::Read(Ok(Reading { sent: ms(at), venue_ms: at, held: held.to_vec(), live: Vec::new() }))
    };
    let held = [Held { market: market("", "BTC"), size: szi(5) }];
    assert!(matches!(ladder.step(ms(2), read(2, &held)).next, Next::Close { .. }));
    assert_eq!(ladder.renew(ms(3), JobId(3), JobKind::Flatten).next, Next::Await);
    assert_eq!(ladder.step(ms(3), Event::Timer).next, Next::Await);
    let unanswered = Event::Closed { said: vec![Said::Unknown], words: None };
    assert_eq!(ladder.step(ms(900), unanswered).next, Next::Read);
    // The close of the older job may still arrive: a clean read proves nothing until it has expired.
    let settled = ms(2).after(pace::VALID).after(pace::SETTLE_SLACK);
    assert_eq!(ladder.step(ms(901), read(901, &[])).next, Next::Wait(settled));
    assert_eq!(ladder.step(settled, Event::Timer).next, Next::Read);
    assert_eq!(ladder.step(ms(3000), read(3000, &[])).next, Next::Wait(ms(3000).after(pace::LOOK_LONG)));
    assert_eq!(ladder.step(ms(3300), Event::Timer).next, Next::Read);
    let turn = ladder.step(ms(3301), read(3301, &[]));
    assert_eq!(turn.say.map(|said| (said.job, said.state)), Some((JobId(3), JobState::Flat)));
    assert!(ladder.proven() && !ladder.done());
    ladder.release();
    assert!(ladder.done(), "wanted again: no more looks");
}

fn any_trouble() -> impl Strategy<Value = Trouble> {
    use Trouble::*;
    prop_oneof![
        4 => Just(None),
        1 => Just(Lost), 1 => Just(AnswerLost), 1 => Just(Late), 1 => Just(Partial), 1 => Just(NoMatch),
        1 => Just(Throttled), 1 => Just(Quota), 1 => Just(PostOnly), 1 => Just(Odd), 1 => Just(Foreign),
        1 => Just(Hidden), 1 => Just(Expired),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever the venue does for a while: nothing grows, no close overlaps another, every Flat is true when said,
    /// and once the trouble is over the account ends flat.
    #[test]
    fn under_any_trouble_it_ends_flat_with_proof(
        script in proptest::collection::vec(any_trouble(), 0..60),
        sizes in proptest::collection::vec(-50_i64..50, 1..4),
        orders in 0_usize..4,
        flatten in any::<bool>(),
    ) {
        let held: Vec<_> = sizes.iter().enumerate().map(|(n, size)| (market("", &format!("C{n}")), *size)).collect();
        let mut model = Model::new(&held, &script);
        for n in 0..orders {
            model.rest(market("", "C0"), if n % 2 == 0 { 3 } else { -3 }, n > 2, n > 2, None);
        }
        let kind = if flatten { JobKind::Flatten } else { JobKind::CancelAll };
        let (verdicts, done) = play(&mut model, kind, ms(3_600_000));
        prop_assert!(done, "{:#?}", model.log);
        prop_assert_eq!(verdicts.last().map(|v| v.state), Some(JobState::Flat));
    }
}
