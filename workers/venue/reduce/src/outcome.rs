//! What became of an action: accepted, refused, or unknown; exactly one verdict per entry sent.
//!
//! Anything that is not clearly an acceptance or a refusal is [`Outcome::Unknown`]: reconcile by client order id
//! before any new order. An acceptance proves acceptance only: not execution, not flatness.

use crate::wire::Oid;
use holdfast_core::money::{Px, Sz};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::fmt;

/// Longest venue text kept.
const TEXT_MAX: usize = 300;

/// The verdict on one entry of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The venue took it.
    Accepted(Accepted),
    /// The venue, or this host before sending, certainly did not take it.
    Refused(Refusal),
    /// Nobody knows yet.
    Unknown(Unknown),
}

/// How an entry was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// On the book.
    Resting {
        /// Venue order id.
        oid: Oid,
    },
    /// Executed, perhaps in part: the rest of an `Ioc` vanishes silently.
    Filled {
        /// Venue order id.
        oid: Oid,
        /// Size executed; may be below the request.
        total_sz: Sz,
        /// Average price.
        avg_px: Px,
    },
    /// A child or trigger waits for its parent or price.
    Waiting,
    /// A cancel, switch, leverage change or no-op was carried out.
    Done,
}

/// A certain refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind; decides what to do next.
    pub class: RefusalClass,
    /// The venue's own words, cut to 300 bytes.
    pub text: String,
}

/// Kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalClass {
    /// Price or size not on the grid: our bug.
    Precision,
    /// Below 10 USD and not a full close.
    TooSmall,
    /// Not enough margin.
    Margin,
    /// Our view of the position is wrong: read it again.
    WouldIncrease,
    /// A post-only order would have matched.
    PostOnlyCrossed,
    /// Nothing inside the bound.
    IocNoMatch,
    /// Empty book.
    NoLiquidity,
    /// A trigger on the wrong side.
    BadTrigger,
    /// The bound is too wide.
    TooFarFromOracle,
    /// Opening is blocked by open interest; reducing is not.
    OpenInterest,
    /// Only post-only orders are taken for a while.
    PostOnlyWindow,
    /// Cancel of an order that is gone: it may have *filled*. Read fills.
    CancelGone,
    /// The address's request quota is spent: space retries by more than 11 s.
    AddressQuota,
    /// The dead-man switch is not available to this account.
    DeadManVolume,
    /// `expiresAfter` had passed.
    Expired,
    /// Nonce too low or too high.
    Nonce,
    /// The venue recovered another signer: wrong key, network or encoding. Halt opening.
    Misconfigured,
    /// It never left this host (no connection, budget, permit, encoding).
    NotSent,
    /// Any other text.
    Other,
}

/// Why an outcome is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// No answer in time.
    Timeout,
    /// The connection failed after the request may have left.
    Transport(String),
    /// 429: throttled. Most likely not executed, which is not proof.
    Throttled,
    /// Another HTTP status, with the start of its body.
    Status(u16, String),
    /// A body that is not the JSON we know.
    Shape(String),
    /// The venue saw this nonce before: the first copy arrived. Look; do not resend.
    DuplicateNonce,
}

impl Outcome {
    /// Whether the venue took it.
    #[must_use]
    pub const fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted(_))
    }

    /// Whether it must be reconciled before anything new is opened.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    /// The class of a refusal.
    #[must_use]
    pub const fn refusal(&self) -> Option<RefusalClass> {
        match self {
            Self::Refused(refusal) => Some(refusal.class),
            Self::Accepted(_) | Self::Unknown(_) => None,
        }
    }

    /// A refusal that happened on this host.
    #[must_use]
    pub fn not_sent(why: &dyn fmt::Display) -> Self {
        Self::Refused(Refusal { class: RefusalClass::NotSent, text: cut(&why.to_string()) })
    }
}

impl Refusal {
    /// Classifies a venue text, of one entry or of a whole action.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self { class: RefusalClass::of(text), text: cut(text) }
    }
}

/// Texts by prefix, in the spec's words.
const PREFIXES: [(&str, RefusalClass); 18] = [
    ("Price must be divisible by tick size", RefusalClass::Precision),
    ("Order has invalid price", RefusalClass::Precision),
    ("Order has invalid size", RefusalClass::Precision),
    ("Order must have minimum value of $10", RefusalClass::TooSmall),
    ("Insufficient margin to place order", RefusalClass::Margin),
    ("Reduce only order would increase position", RefusalClass::WouldIncrease),
    ("Post only order would have immediately matched", RefusalClass::PostOnlyCrossed),
    ("Order could not immediately match against any resting orders", RefusalClass::IocNoMatch),
    ("No liquidity available for market order", RefusalClass::NoLiquidity),
    ("Invalid TP/SL price", RefusalClass::BadTrigger),
    ("Order price too far from oracle", RefusalClass::TooFarFromOracle),
    ("Order would increase open interest too quickly", RefusalClass::OpenInterest),
    ("Only post-only orders allowed immediately after", RefusalClass::PostOnlyWindow),
    ("Order was never placed, already canceled, or filled", RefusalClass::CancelGone),
    ("Too many cumulative requests sent", RefusalClass::AddressQuota),
    ("Cannot set scheduled cancel time until enough volume traded", RefusalClass::DeadManVolume),
    ("Action already expired", RefusalClass::Expired),
    ("Invalid nonce", RefusalClass::Nonce),
];

impl RefusalClass {
    /// The class of a venue text; unknown texts are [`RefusalClass::Other`], and a refusal all the same.
    #[must_use]
    pub fn of(text: &str) -> Self {
        if let Some((_, class)) = PREFIXES.iter().find(|(prefix, _)| text.starts_with(prefix)) {
            return *class;
        }
        let lower = text.to_ascii_lowercase();
        if lower.contains("open interest") {
            Self::OpenInterest
        } else if lower.contains("does not exist") || lower.contains("must deposit") {
            Self::Misconfigured
        } else {
            Self::Other
        }
    }
}

/// What an action's answer must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// `order` answers, one status per order.
    Orders(usize),
    /// `cancel` answers, one status per cancel.
    Cancels(usize),
    /// `default`: one verdict.
    Plain,
}

impl Expect {
    /// How many verdicts there will be.
    #[must_use]
    pub const fn entries(self) -> usize {
        match self {
            Self::Orders(n) | Self::Cancels(n) => n,
            Self::Plain => 1,
        }
    }

    /// The same verdict on every entry.
    #[must_use]
    pub fn all(self, outcome: &Outcome) -> Vec<Outcome> {
        vec![outcome.clone(); self.entries()]
    }
}

#[derive(Deserialize)]
#[serde(tag = "status", content = "response", rename_all = "lowercase")]
enum Answer {
    Ok(Response),
    Err(String),
}

#[derive(Deserialize)]
struct Response {
    #[serde(rename = "type")]
    kind: String,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    statuses: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Known(Known),
    Other(IgnoredAny),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Known {
    Resting {
        oid: Oid,
    },
    #[serde(rename_all = "camelCase")]
    Filled {
        oid: Oid,
        total_sz: Sz,
        avg_px: Px,
    },
    Error(String),
    Success,
    WaitingForFill,
    WaitingForTrigger,
}

/// Reads an HTTP answer to an action: exactly `expect.entries()` verdicts.
#[must_use]
pub fn read_answer(status: u16, body: &[u8], expect: Expect) -> Vec<Outcome> {
    match status {
        200 => {}
        429 => return expect.all(&Outcome::Unknown(Unknown::Throttled)),
        code => return expect.all(&Outcome::Unknown(Unknown::Status(code, cut(&String::from_utf8_lossy(body))))),
    }
    match serde_json::from_slice::<Answer>(body) {
        Err(error) => expect.all(&Outcome::Unknown(Unknown::Shape(cut(&error.to_string())))),
        Ok(Answer::Err(text)) => expect.all(&whole_refusal(&text)),
        Ok(Answer::Ok(response)) => read_response(response, expect),
    }
}

fn whole_refusal(text: &str) -> Outcome {
    let refusal = Refusal::of(text);
    if refusal.class == RefusalClass::Nonce && text.to_ascii_lowercase().contains("duplicate") {
        return Outcome::Unknown(Unknown::DuplicateNonce);
    }
    Outcome::Refused(refusal)
}

fn read_response(response: Response, expect: Expect) -> Vec<Outcome> {
    let shape = |why: &str| expect.all(&Outcome::Unknown(Unknown::Shape(why.to_owned())));
    let statuses = match (expect, response.kind.as_str(), response.data) {
        (Expect::Plain, "default", _) => return vec![Outcome::Accepted(Accepted::Done)],
        (Expect::Orders(_), "order", Some(data)) | (Expect::Cancels(_), "cancel", Some(data)) => data.statuses,
        _ => return shape("answer of another type"),
    };
    let verdicts: Vec<Outcome> = statuses.into_iter().map(|entry| read_entry(entry, expect)).collect();
    if verdicts.len() == expect.entries() {
        return verdicts;
    }
    // One error for the whole batch: found before validation, so nothing was placed. Any other mismatch cannot be
    // assigned to entries.
    match verdicts.as_slice() {
        [first, rest @ ..]
            if verdicts.len() < expect.entries()
                && first.refusal().is_some()
                && rest.iter().all(|v| v.refusal().is_some()) =>
        {
            let mut all = expect.all(first);
            for (slot, verdict) in all.iter_mut().zip(&verdicts) {
                slot.clone_from(verdict);
            }
            all
        }
        _ => shape("another number of statuses than entries"),
    }
}

fn read_entry(entry: Entry, expect: Expect) -> Outcome {
    let unknown = || Outcome::Unknown(Unknown::Shape("entry of an unknown shape".to_owned()));
    let known = match entry {
        Entry::Known(known) => known,
        Entry::Other(_) => return unknown(),
    };
    let is_order = matches!(expect, Expect::Orders(_));
    match known {
        Known::Error(text) => Outcome::Refused(Refusal::of(&text)),
        Known::Resting { oid } if is_order => Outcome::Accepted(Accepted::Resting { oid }),
        Known::Filled { oid, total_sz, avg_px } if is_order => {
            Outcome::Accepted(Accepted::Filled { oid, total_sz, avg_px })
        }
        Known::WaitingForFill | Known::WaitingForTrigger if is_order => Outcome::Accepted(Accepted::Waiting),
        Known::Success if !is_order => Outcome::Accepted(Accepted::Done),
        Known::Resting { .. }
        | Known::Filled { .. }
        | Known::WaitingForFill
        | Known::WaitingForTrigger
        | Known::Success => unknown(),
    }
}

/// The start of a text, at most 300 bytes, on a character boundary.
pub(crate) fn cut(text: &str) -> String {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
