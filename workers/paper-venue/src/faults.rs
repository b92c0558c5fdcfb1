//! Injected faults: which are active, for how long, and what their `value` means. Pure: the clock is passed in.
//!
//! | kind | effect | `value` (default) | lasts by default |
//! |---|---|---|---|
//! | `latency` | the request waits before it is processed; `{"ms","where":"after","path","types"}` delays the answer instead, or only one path, or only these types of request | ms (1000) | until cleared |
//! | `http_error` | answers with that status, processes nothing; `{"status","path":"/info"\|"/exchange"}` narrows it | status (503) | until cleared |
//! | `garbage_body` | the request is processed, the answer is 200 and not JSON | `"/info"`, `"/exchange"` (both) | once |
//! | `drop_after_execute` | an action is executed and the connection closed without an answer | none | once |
//! | `ws_drop` | every socket is cut without a close frame; with `for_ms` none is taken meanwhile | none | once |
//! | `feed_freeze` | the market stands still: the same book with the same time is served | none, `"crossed"`, `"one_sided"`: how that book looks | until cleared |
//! | `feed_gap` | no market message is sent over sockets; the market moves on | none; `"duplicate"` sends each twice, `"reorder"` each after the next one, instead | until cleared |
//! | `price_jump` | every price of the coin (all without `coin`) is moved; undone when it ends | bps, signed (-500) | until cleared |
//! | `reject_all` | every order, cancel and other action is refused | text | until cleared |
//! | `reject_open` | orders that would add exposure are refused, others pass | text | until cleared |
//! | `post_only_window` | only `Alo` orders and cancels are taken | none | until cleared |
//! | `partial_fill` | an order that takes fills only this part of its size | fraction ("0.5") | once |
//! | `rate_limit` | `"ip"`: 429 to every request; `"address"`: the account's quota is spent | scope ("ip") | until cleared |
//! | `session_terminated` | every socket is closed with 1000 "Expired" | none | once |
//! | `dead_man_ineligible` | `scheduleCancel` is refused for lack of volume | traded USD ("373.47205") | until cleared |
//! | `clock_skew` | venue time runs ahead (behind if negative) | ms, signed (5000) | until cleared |
//! | `late_fill` | a cancelled order fills that much later all the same | ms (1000) | once |
//! | `foreign_position` | a position appears without any order | signed size ("0.01") | once |
//! | `foreign_spot_order` | an order that no client here placed rests in the spot pair | signed size ("1") | once |

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most faults that can be active at a time.
const MAX_ACTIVE: usize = 64;
/// Longest `for_ms`: a day.
const MAX_FOR_MS: u64 = 86_400_000;

/// What can go wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "described in the table at the head of the file")]
pub enum Kind {
    Latency,
    HttpError,
    GarbageBody,
    DropAfterExecute,
    WsDrop,
    FeedFreeze,
    FeedGap,
    PriceJump,
    RejectAll,
    RejectOpen,
    PostOnlyWindow,
    PartialFill,
    RateLimit,
    SessionTerminated,
    DeadManIneligible,
    ClockSkew,
    LateFill,
    ForeignPosition,
    ForeignSpotOrder,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 19] = [
        Self::Latency,
        Self::HttpError,
        Self::GarbageBody,
        Self::DropAfterExecute,
        Self::WsDrop,
        Self::FeedFreeze,
        Self::FeedGap,
        Self::PriceJump,
        Self::RejectAll,
        Self::RejectOpen,
        Self::PostOnlyWindow,
        Self::PartialFill,
        Self::RateLimit,
        Self::SessionTerminated,
        Self::DeadManIneligible,
        Self::ClockSkew,
        Self::LateFill,
        Self::ForeignPosition,
        Self::ForeignSpotOrder,
    ];

    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    }

    const fn once(self) -> bool {
        match self {
            Self::GarbageBody
            | Self::DropAfterExecute
            | Self::WsDrop
            | Self::PartialFill
            | Self::SessionTerminated
            | Self::LateFill
            | Self::ForeignPosition
            | Self::ForeignSpotOrder => true,
            Self::Latency
            | Self::HttpError
            | Self::FeedFreeze
            | Self::FeedGap
            | Self::PriceJump
            | Self::RejectAll
            | Self::RejectOpen
            | Self::PostOnlyWindow
            | Self::RateLimit
            | Self::DeadManIneligible
            | Self::ClockSkew => false,
        }
    }
}

/// A request to break something.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRequest {
    /// What.
    pub kind: Kind,
    /// Only for this coin.
    #[serde(default)]
    pub coin: Option<String>,
    /// For how long, ms.
    #[serde(default)]
    pub for_ms: Option<u64>,
    /// How many times.
    #[serde(default)]
    pub count: Option<u32>,
    /// See the table.
    #[serde(default)]
    pub value: Option<Value>,
}

/// An active fault.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fault {
    /// Number of it.
    pub id: u64,
    /// What.
    pub kind: Kind,
    /// Only for this coin.
    pub coin: Option<String>,
    /// Ends at this boot ms.
    pub until_boot_ms: Option<u64>,
    /// Ends after so many uses.
    pub remaining: Option<u32>,
    /// See the table.
    pub value: Value,
}

impl Fault {
    fn fits(&self, kind: Kind, coin: Option<&str>, now_ms: u64) -> bool {
        let coin_fits = match (&self.coin, coin) {
            (None, _) => true,
            (Some(want), Some(have)) => want == have,
            (Some(_), None) => false,
        };
        self.kind == kind && coin_fits && self.until_boot_ms.is_none_or(|until| now_ms < until)
    }
}

/// Why a fault was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFault {
    /// The value does not fit the kind.
    #[error("value does not fit this kind: {0}")]
    Value(&'static str),
    /// `for_ms` or `count` is zero or too large.
    #[error("for_ms must be 1 to 86400000 and count at least 1")]
    Span,
    /// Too many at a time.
    #[error("64 faults are active: clear some first")]
    Full,
}

/// A decimal written as a number or as text.
#[must_use]
pub fn decimal(value: &Value) -> Option<Decimal> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    Decimal::from_str_exact(&text).ok()
}

/// A value that is a number, or an object that holds it under `key`.
#[must_use]
pub fn number(value: &Value, key: &str) -> Option<i64> {
    value.as_i64().or_else(|| value.get(key).and_then(Value::as_i64))
}

fn checked_value(kind: Kind, value: Option<Value>) -> Result<Value, BadFault> {
    let given = value.unwrap_or(Value::Null);
    let given = if given.is_null() {
        match kind {
            Kind::Latency | Kind::LateFill => Value::from(1000),
            Kind::HttpError => Value::from(503),
            Kind::PriceJump => Value::from(-500),
            Kind::PartialFill => Value::from("0.5"),
            Kind::RateLimit => Value::from("ip"),
            Kind::DeadManIneligible => Value::from("373.47205"),
            Kind::ClockSkew => Value::from(5000),
            Kind::ForeignPosition => Value::from("0.01"),
            Kind::ForeignSpotOrder => Value::from("1"),
            Kind::GarbageBody
            | Kind::DropAfterExecute
            | Kind::WsDrop
            | Kind::FeedFreeze
            | Kind::FeedGap
            | Kind::RejectAll
            | Kind::RejectOpen
            | Kind::PostOnlyWindow
            | Kind::SessionTerminated => Value::Null,
        }
    } else {
        given
    };
    let within = |v: Option<i64>, low: i64, high: i64| v.is_some_and(|v| (low..=high).contains(&v));
    let path = |v: &Value| v.is_null() || matches!(v.as_str(), Some("/info" | "/exchange"));
    let words = |v: &Value| v.as_array().is_some_and(|list| list.iter().all(Value::is_string));
    let (fits, want) = match kind {
        Kind::Latency => (
            within(number(&given, "ms"), 0, 600_000)
                && given.get("path").is_none_or(path)
                && given.get("types").is_none_or(words),
            "milliseconds, at most 600000",
        ),
        Kind::LateFill => (within(given.as_i64(), 0, 600_000), "milliseconds, at most 600000"),
        Kind::HttpError => (
            within(number(&given, "status"), 400, 599) && given.get("path").is_none_or(path),
            "a status from 400 to 599",
        ),
        Kind::PriceJump => (within(given.as_i64(), -9_999, 100_000), "basis points from -9999 to 100000"),
        Kind::PartialFill => {
            (decimal(&given).is_some_and(|v| !v.is_sign_negative() && v <= Decimal::ONE), "a fraction from 0 to 1")
        }
        Kind::RateLimit => (matches!(given.as_str(), Some("ip" | "address")), "\"ip\" or \"address\""),
        Kind::DeadManIneligible => (decimal(&given).is_some_and(|v| !v.is_sign_negative()), "an amount of USD"),
        Kind::ClockSkew => (within(given.as_i64(), -31_536_000_000, 31_536_000_000), "milliseconds, signed"),
        Kind::ForeignPosition | Kind::ForeignSpotOrder => {
            (decimal(&given).is_some_and(|v| !v.is_zero() && v.abs() < Decimal::from(1_000_000)), "a signed size")
        }
        Kind::GarbageBody => (path(&given), "\"/info\" or \"/exchange\""),
        Kind::RejectAll | Kind::RejectOpen => (given.is_null() || given.is_string(), "a text"),
        Kind::FeedFreeze => {
            (given.is_null() || matches!(given.as_str(), Some("crossed" | "one_sided")), "\"crossed\" or \"one_sided\"")
        }
        Kind::FeedGap => {
            (given.is_null() || matches!(given.as_str(), Some("duplicate" | "reorder")), "\"duplicate\" or \"reorder\"")
        }
        Kind::DropAfterExecute | Kind::WsDrop | Kind::PostOnlyWindow | Kind::SessionTerminated => {
            (given.is_null(), "this kind takes none")
        }
    };
    if fits { Ok(given) } else { Err(BadFault::Value(want)) }
}

/// The active faults.
#[derive(Debug, Default)]
pub struct Faults {
    active: Vec<Fault>,
    next_id: u64,
}

impl Faults {
    /// Takes a fault in.
    ///
    /// # Errors
    /// [`BadFault`]; then nothing was injected.
    pub fn inject(&mut self, request: FaultRequest, now_ms: u64) -> Result<Fault, BadFault> {
        let bad_span = request.for_ms.is_some_and(|v| v == 0 || v > MAX_FOR_MS) || request.count == Some(0);
        if bad_span {
            return Err(BadFault::Span);
        }
        self.sweep(now_ms);
        if self.active.len() >= MAX_ACTIVE {
            return Err(BadFault::Full);
        }
        let value = checked_value(request.kind, request.value)?;
        self.next_id = self.next_id.saturating_add(1);
        let once = request.kind.once() && request.count.is_none() && request.for_ms.is_none();
        let fault = Fault {
            id: self.next_id,
            kind: request.kind,
            coin: request.coin,
            until_boot_ms: request.for_ms.map(|v| now_ms.saturating_add(v)),
            remaining: if once { Some(1) } else { request.count },
            value,
        };
        self.active.push(fault.clone());
        Ok(fault)
    }

    /// Drops what has ended.
    pub fn sweep(&mut self, now_ms: u64) {
        self.active.retain(|f| f.until_boot_ms.is_none_or(|until| now_ms < until) && f.remaining != Some(0));
    }

    /// The value of the first fault of this kind, if one is active; uses up nothing.
    #[must_use]
    pub fn peek(&self, kind: Kind, coin: Option<&str>, now_ms: u64) -> Option<&Value> {
        self.active.iter().find(|f| f.fits(kind, coin, now_ms) && f.remaining != Some(0)).map(|f| &f.value)
    }

    /// The same, and one use of it is counted.
    pub fn take(&mut self, kind: Kind, coin: Option<&str>, now_ms: u64) -> Option<Value> {
        let fault = self.active.iter_mut().find(|f| f.fits(kind, coin, now_ms) && f.remaining != Some(0))?;
        fault.remaining = fault.remaining.map(|n| n.saturating_sub(1));
        let value = fault.value.clone();
        self.active.retain(|f| f.remaining != Some(0));
        Some(value)
    }

    /// All that are active.
    #[must_use]
    pub fn list(&self) -> &[Fault] {
        &self.active
    }

    /// Ends all of them; says how many there were.
    pub fn clear(&mut self) -> usize {
        let n = self.active.len();
        self.active.clear();
        n
    }

    /// Injected clock skew, ms.
    #[must_use]
    pub fn skew_ms(&self, now_ms: u64) -> i64 {
        self.peek(Kind::ClockSkew, None, now_ms).and_then(Value::as_i64).unwrap_or(0)
    }
}
