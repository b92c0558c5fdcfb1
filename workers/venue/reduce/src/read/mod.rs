//! Reads of the venue (`POST /info`), each with a deadline, into closed types.
//!
//! An answer that lacks what safety rests on is an error, never zero and never empty. Extra fields are tolerated:
//! the venue adds some now and then.

mod account;
mod market;
mod orders;
mod snapshot;
mod spot;
mod view;

pub use account::{
    AccountRole, DexAccount, ExtraAgent, Fill, Leverage, Liquidation, MarginSummary, Position, RateLimit, VenueTime,
    parse_clearinghouse, parse_fills,
};
pub use market::{Asset, AssetCtx, Book, Candle, Interval, Level, Universe, parse_meta};
pub use orders::{OpenOrder, OrderStatus, StatusedOrder, parse_open_orders};
pub use snapshot::{AccountSnapshot, DexScope, DexView};
pub use spot::{SpotPairs, is_spot, parse_spot_meta};
pub use view::Untellable;

use crate::budget::{COMMON, LIGHT, ROLE};
use crate::client::{ReadError, Venue};
use crate::wire::{Address, Cloid, Dex, Oid};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An order named by the venue's id or by ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum OrderRef {
    /// Venue order id.
    Oid(Oid),
    /// Client order id.
    Cloid(Cloid),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Ask<'a> {
    Meta {
        dex: &'a Dex,
    },
    MetaAndAssetCtxs {
        dex: &'a Dex,
    },
    PerpDexs {},
    SpotMeta {},
    AllMids {
        dex: &'a Dex,
    },
    L2Book {
        coin: &'a str,
    },
    ClearinghouseState {
        user: Address,
        dex: &'a Dex,
    },
    FrontendOpenOrders {
        user: Address,
        dex: &'a Dex,
    },
    OrderStatus {
        user: Address,
        oid: OrderRef,
    },
    #[serde(rename_all = "camelCase")]
    UserFillsByTime {
        user: Address,
        start_time: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        end_time: Option<u64>,
    },
    UserRateLimit {
        user: Address,
    },
    UserRole {
        user: Address,
    },
    ExtraAgents {
        user: Address,
    },
    ExchangeStatus {},
    CandleSnapshot {
        req: CandleAsk<'a>,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CandleAsk<'a> {
    coin: &'a str,
    interval: Interval,
    start_time: u64,
    end_time: u64,
}

pub(crate) fn parse<T: DeserializeOwned>(what: &str, body: &[u8]) -> Result<T, ReadError> {
    serde_json::from_slice(body).map_err(|e| ReadError::Shape(format!("{what}: {e}")))
}

impl Venue {
    /// Names of all dexes, the first (`""`) included.
    ///
    /// # Errors
    /// [`ReadError`]; also when the list does not start with the first dex.
    pub async fn perp_dexs(&self) -> Result<Vec<Dex>, ReadError> {
        market::parse_dexs(&self.post_info(&Ask::PerpDexs {}, COMMON).await?)
    }

    /// The markets of one dex. `position` is its place in [`Venue::perp_dexs`]: it fixes the asset indices.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn meta(&self, dex: &Dex, position: usize) -> Result<Universe, ReadError> {
        parse_meta(&self.post_info(&Ask::Meta { dex }, COMMON).await?, dex, position)
    }

    /// The markets of every dex.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn universe(&self) -> Result<Universe, ReadError> {
        let mut all = Universe::default();
        for (position, dex) in self.perp_dexs().await?.iter().enumerate() {
            all.absorb(self.meta(dex, position).await?);
        }
        Ok(all)
    }

    /// The spot pairs, for cancelling what rests in one.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn spot_pairs(&self) -> Result<SpotPairs, ReadError> {
        parse_spot_meta(&self.post_info(&Ask::SpotMeta {}, COMMON).await?)
    }

    /// Markets of one dex with their contexts (mark, oracle, funding), in universe order.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn meta_and_contexts(&self, dex: &Dex, position: usize) -> Result<Vec<(Asset, AssetCtx)>, ReadError> {
        market::parse_contexts(&self.post_info(&Ask::MetaAndAssetCtxs { dex }, COMMON).await?, dex, position)
    }

    /// Mid prices of one dex; an empty book gives the last trade, so a "mid" may be old or absurd.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn all_mids(&self, dex: &Dex) -> Result<BTreeMap<String, holdfast_core::money::Px>, ReadError> {
        market::parse_mids(&self.post_info(&Ask::AllMids { dex }, LIGHT).await?)
    }

    /// The book of one coin, best first; `None` for a coin the venue does not know.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn l2_book(&self, coin: &str) -> Result<Option<Book>, ReadError> {
        parse("l2Book", &self.post_info(&Ask::L2Book { coin }, LIGHT).await?)
    }

    /// Candles of one coin; the last one is still open. Times in ms.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn candles(
        &self,
        coin: &str,
        interval: Interval,
        start_time: u64,
        end_time: u64,
    ) -> Result<Vec<Candle>, ReadError> {
        let req = CandleAsk { coin, interval, start_time, end_time };
        let candles: Vec<Candle> =
            parse("candleSnapshot", &self.post_info(&Ask::CandleSnapshot { req }, COMMON).await?)?;
        self.charge_items(candles.len(), 60);
        Ok(candles)
    }

    /// Positions and margin of the configured account on one dex.
    ///
    /// # Errors
    /// [`ReadError`]; a position of unknown type or size is an error: exposure unknown.
    pub async fn clearinghouse(&self, dex: &Dex) -> Result<DexAccount, ReadError> {
        let sent = self.now();
        let ask = Ask::ClearinghouseState { user: self.account(), dex };
        parse_clearinghouse(&self.post_info(&ask, LIGHT).await?, sent)
    }

    /// Every open order of the configured account on one dex, triggers included.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn open_orders(&self, dex: &Dex) -> Result<Vec<OpenOrder>, ReadError> {
        let ask = Ask::FrontendOpenOrders { user: self.account(), dex };
        let orders = parse_open_orders(&self.post_info(&ask, COMMON).await?)?;
        self.charge_items(orders.len(), 20);
        Ok(orders)
    }

    /// What became of one order. `UnknownOid` soon after a send is not proof that it does not exist.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn order_status(&self, order: OrderRef) -> Result<OrderStatus, ReadError> {
        let ask = Ask::OrderStatus { user: self.account(), oid: order };
        parse("orderStatus", &self.post_info(&ask, LIGHT).await?)
    }

    /// Fills from `start_ms` on, at most 2000 per answer.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn fills_since(&self, start_ms: u64, end_ms: Option<u64>) -> Result<Vec<Fill>, ReadError> {
        let ask = Ask::UserFillsByTime { user: self.account(), start_time: start_ms, end_time: end_ms };
        let fills = parse_fills(&self.post_info(&ask, COMMON).await?)?;
        self.charge_items(fills.len(), 20);
        Ok(fills)
    }

    /// Address quota: requests used and allowed.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn rate_limit(&self) -> Result<RateLimit, ReadError> {
        parse("userRateLimit", &self.post_info(&Ask::UserRateLimit { user: self.account() }, COMMON).await?)
    }

    /// What an address is. Refuse to run when the account's role is agent: its reads would look flat.
    ///
    /// # Errors
    /// [`ReadError`]; also for a role this program does not know.
    pub async fn role_of(&self, user: Address) -> Result<AccountRole, ReadError> {
        parse("userRole", &self.post_info(&Ask::UserRole { user }, ROLE).await?)
    }

    /// Agent keys of the account and when they expire.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn extra_agents(&self) -> Result<Vec<ExtraAgent>, ReadError> {
        parse("extraAgents", &self.post_info(&Ask::ExtraAgents { user: self.account() }, COMMON).await?)
    }

    /// The venue's clock, with the boot-clock instants around the question.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn venue_time(&self) -> Result<VenueTime, ReadError> {
        #[derive(Deserialize)]
        struct Status {
            time: u64,
        }
        let sent = self.now();
        let body = self.post_info(&Ask::ExchangeStatus {}, LIGHT).await?;
        let received = self.now();
        let status: Status = parse("exchangeStatus", &body)?;
        Ok(VenueTime { time_ms: status.time, sent, received })
    }

    fn charge_items(&self, items: usize, per: usize) {
        let weight = u32::try_from(items.checked_div(per).unwrap_or(0)).unwrap_or(u32::MAX);
        self.budget().charge(self.now(), weight);
    }
}

#[cfg(test)]
mod tests;
