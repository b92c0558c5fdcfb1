//! What comes in over the socket, as a closed set.

use crate::client::ReadError;
use crate::read::{AssetCtx, Book, Candle, Fill, Interval, Level, OpenOrder, parse};
use crate::status::OrderStatusText;
use crate::wire::{Address, Dex, Oid, Side};
use holdfast_core::money::{Px, Sz, Usd};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Stream {
    /// Mid prices of one dex.
    AllMids {
        /// Which dex.
        #[serde(skip_serializing_if = "is_first")]
        dex: Dex,
    },
    /// Whole book of one coin.
    L2Book {
        /// The market.
        coin: String,
    },
    /// Best bid and ask of one coin.
    Bbo {
        /// The market.
        coin: String,
    },
    /// Trades of one coin; the first message is history.
    Trades {
        /// The market.
        coin: String,
    },
    /// The running candle of one coin.
    Candle {
        /// The market.
        coin: String,
        /// Its length.
        interval: Interval,
    },
    /// Mark, oracle and funding of one coin.
    ActiveAssetCtx {
        /// The market.
        coin: String,
    },
    /// Order updates of an account. They carry no account: one account per connection.
    OrderUpdates {
        /// The account.
        user: Address,
    },
    /// Fills of an account.
    UserFills {
        /// The account.
        user: Address,
    },
    /// Events of an account: liquidation, cancels not by the user.
    UserEvents {
        /// The account.
        user: Address,
    },
}

fn is_first(dex: &Dex) -> bool {
    dex.as_str().is_empty()
}

/// Best bid and ask.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Bbo {
    /// The market.
    pub coin: String,
    /// Venue time, ms.
    pub time: u64,
    /// Bid, then ask; either may be missing.
    pub bbo: (Option<Level>, Option<Level>),
}

/// One public trade.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Trade {
    /// The market.
    pub coin: String,
    /// Side of the aggressor.
    pub side: Side,
    /// Price. A trade is not a valuation.
    pub px: Px,
    /// Size.
    pub sz: Sz,
    /// Venue time, ms.
    pub time: u64,
    /// Trade id.
    pub tid: u64,
}

/// Mid prices. A market that never traded may show zero.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Mids {
    /// By coin.
    pub mids: BTreeMap<String, Sz>,
}

/// A change of one order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderUpdate {
    /// The order.
    pub order: OpenOrder,
    /// Its state.
    pub status: OrderStatusText,
    /// Since when, ms.
    pub status_timestamp: u64,
}

/// Fills, whole (`is_snapshot`) or new.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserFills {
    /// True for the first message after subscribing: history.
    #[serde(default)]
    pub is_snapshot: bool,
    /// The account.
    pub user: Address,
    /// The fills.
    pub fills: Vec<Fill>,
}

/// Something happened to the account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum UserEvent {
    /// Executions.
    Fills {
        /// The fills.
        fills: Vec<Fill>,
    },
    /// A funding payment.
    Funding {
        /// Its details.
        funding: FundingEvent,
    },
    /// A liquidation: the position moves without any order of ours.
    Liquidation {
        /// Its details.
        liquidation: LiquidationEvent,
    },
    /// Orders the venue ended.
    #[serde(rename_all = "camelCase")]
    NonUserCancel {
        /// Which.
        non_user_cancel: Vec<CancelledByVenue>,
    },
    /// A kind this program does not follow: read the account.
    Other(OtherEvent),
}

/// Any object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct OtherEvent {}

/// A funding payment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct FundingEvent {
    /// The market.
    pub coin: String,
    /// USD received; negative = paid.
    pub usdc: Usd,
}

/// A liquidation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LiquidationEvent {
    /// Its number.
    pub lid: u64,
    /// The account liquidated.
    pub liquidated_user: Address,
}

/// One order the venue ended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CancelledByVenue {
    /// The market.
    pub coin: String,
    /// The order.
    pub oid: Oid,
}

/// One message from the venue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireMessage {
    /// Whole book.
    L2Book(Book),
    /// Best bid and ask.
    Bbo(Bbo),
    /// Trades; may be empty.
    Trades(Vec<Trade>),
    /// A candle.
    Candle(Candle),
    /// Mid prices.
    AllMids(Mids),
    /// Context of one market.
    ActiveAssetCtx {
        /// The market.
        coin: String,
        /// Its context.
        ctx: AssetCtx,
    },
    /// Changes of orders.
    OrderUpdates(Vec<OrderUpdate>),
    /// Fills.
    UserFills(UserFills),
    /// Events.
    UserEvent(UserEvent),
    /// A subscription was taken.
    Subscribed,
    /// Answer to a ping.
    Pong,
    /// The venue refused something we sent.
    Error(String),
    /// A channel this program does not follow.
    Other(String),
}

#[derive(Deserialize)]
struct Head {
    channel: String,
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

/// Reads one text message.
///
/// # Errors
/// [`ReadError::Shape`] for text that is not JSON with a channel, or data that does not fit its channel.
pub fn parse_message(text: &[u8]) -> Result<WireMessage, ReadError> {
    #[derive(Deserialize)]
    struct Ctx {
        coin: String,
        ctx: AssetCtx,
    }
    fn data<T: serde::de::DeserializeOwned>(what: &str, text: &[u8]) -> Result<T, ReadError> {
        parse::<Envelope<T>>(what, text).map(|envelope| envelope.data)
    }
    let head: Head = parse("socket message", text)?;
    Ok(match head.channel.as_str() {
        "l2Book" => WireMessage::L2Book(data("l2Book", text)?),
        "bbo" => WireMessage::Bbo(data("bbo", text)?),
        "trades" => WireMessage::Trades(data("trades", text)?),
        "candle" => WireMessage::Candle(data("candle", text)?),
        "allMids" => WireMessage::AllMids(data("allMids", text)?),
        "activeAssetCtx" => {
            let Ctx { coin, ctx } = data("activeAssetCtx", text)?;
            WireMessage::ActiveAssetCtx { coin, ctx }
        }
        "orderUpdates" => WireMessage::OrderUpdates(data("orderUpdates", text)?),
        "userFills" => WireMessage::UserFills(data("userFills", text)?),
        "user" => WireMessage::UserEvent(data("user", text)?),
        "subscriptionResponse" => {
            let _: IgnoredAny = data("subscriptionResponse", text)?;
            WireMessage::Subscribed
        }
        "pong" => WireMessage::Pong,
        "error" => WireMessage::Error(crate::outcome::cut(&data::<String>("error", text)?)),
        _ => WireMessage::Other(crate::outcome::cut(&head.channel)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_in_the_venues_words() {
        let user = Address::new([0xab; 20]);
        for (stream, json) in [
            (Stream::AllMids { dex: Dex::first() }, r#"{"type":"allMids"}"#.to_owned()),
            (Stream::L2Book { coin: "BTC".into() }, r#"{"type":"l2Book","coin":"BTC"}"#.to_owned()),
            (
                Stream::Candle { coin: "BTC".into(), interval: Interval::M1 },
                r#"{"type":"candle","coin":"BTC","interval":"1m"}"#.to_owned(),
            ),
            (Stream::OrderUpdates { user }, format!(r#"{{"type":"orderUpdates","user":"{user}"}}"#)),
        ] {
            assert_eq!(serde_json::to_string(&stream).unwrap(), json);
        }
    }

    #[test]
    fn the_start_of_a_recording() {
        let mut books = 0;
        let mut trades = 0;
        for line in include_str!("../../../../../fixtures/venue/ws-cut.txt").lines() {
            let (_, message) = line.split_once(' ').unwrap();
            let message = parse_message(message.as_bytes()).unwrap();
            if let WireMessage::L2Book(book) = message {
                assert_eq!((book.coin.as_str(), book.bids.len(), book.asks.len()), ("BTC", 20, 20));
                assert!(book.mid().is_some());
                books += 1;
            } else if let WireMessage::Trades(list) = message {
                trades += list.len();
            } else {
                panic!("{message:?}");
            }
        }
        assert!(books > 0 && trades > 0);
    }

    #[test]
    fn user_messages_and_oddities() {
        let fill = r#"{"coin":"BTC","px":"1","sz":"1","side":"B","time":1,"startPosition":"0","dir":"Open Long","closedPnl":"0","hash":"0x","oid":1,"crossed":true,"fee":"-0.1","feeToken":"USDC","tid":2,"cloid":null}"#;
        let user = "0x1719884eb866cb12b2287399b15f7db5e7d775ea";
        for (text, good) in [
            (format!(r#"{{"channel":"userFills","data":{{"isSnapshot":true,"user":"{user}","fills":[{fill}]}}}}"#), true),
            (format!(r#"{{"channel":"user","data":{{"fills":[{fill}]}}}}"#), true),
            (format!(r#"{{"channel":"user","data":{{"liquidation":{{"lid":1,"liquidator":"{user}","liquidated_user":"{user}","liquidated_ntl_pos":"1","liquidated_account_value":"1"}}}}}}"#), true),
            (r#"{"channel":"user","data":{"nonUserCancel":[{"coin":"BTC","oid":1}]}}"#.to_owned(), true),
            (r#"{"channel":"user","data":{"twapHistory":[]}}"#.to_owned(), true),
            (r#"{"channel":"bbo","data":{"coin":"BTC","time":1,"bbo":[null,{"px":"1","sz":"1","n":1}]}}"#.to_owned(), true),
            (r#"{"channel":"error","data":"Already subscribed"}"#.to_owned(), true),
            (r#"{"channel":"pong"}"#.to_owned(), true),
            (r#"{"channel":"new"}"#.to_owned(), true),
            (r#"{"channel":"subscriptionResponse","data":{"method":"subscribe"}}"#.to_owned(), true),
            (r#"{"channel":"orderUpdates","data":[{"order":{"coin":"BTC","side":"B","limitPx":"1","sz":"1","oid":1,"timestamp":1,"origSz":"1"},"status":"open","statusTimestamp":1}]}"#.to_owned(), true),
            (r#"{"channel":"trades","data":[{"coin":"BTC"}]}"#.to_owned(), false),
            (r#"{"channel":"l2Book"}"#.to_owned(), false),
            ("Websocket connection established.".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(parse_message(text.as_bytes()).is_ok(), good, "{text}");
        }
        let event = parse_message(br#"{"channel":"user","data":{"nonUserCancel":[{"coin":"BTC","oid":1}]}}"#).unwrap();
        assert!(matches!(event, WireMessage::UserEvent(UserEvent::NonUserCancel { .. })));
    }
}
