//! Reading the market over HTTP: the venue's clock every ten seconds, and book and mark whenever they must be read again.

use holdfast_core::money::Px;
use holdfast_core::time::Tick;
use holdfast_venue_reduce::client::{ReadError, Venue};
use holdfast_venue_reduce::clock::VenueClock;
use holdfast_venue_reduce::read::{Asset, Book};
use holdfast_venue_reduce::wire::{AssetIndex, Dex, PriceRule};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// How often the clocks are compared.
const CLOCK_EVERY: Duration = Duration::from_secs(10);
/// ... and until the first comparison, or after one that failed.
const CLOCK_AGAIN: Duration = Duration::from_secs(1);
/// Shortest pause between two readings that were asked for: one costs as much as an account reading.
const DEBOUNCE: Duration = Duration::from_secs(2);
/// ... and after one that failed, which cost nothing.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// What came of a reading.
#[derive(Debug)]
pub(crate) enum MarketReading {
    /// The clocks were compared.
    Clock(VenueClock),
    /// Book and mark.
    Market {
        /// When the first question left.
        asked: Tick,
        /// When the answers were there.
        received: Tick,
        /// The book.
        book: Box<Book>,
        /// The mark.
        mark: Option<Px>,
    },
    /// Index or decimals of the coin changed since the start.
    Changed,
}

/// What must not change while we run.
type Identity = (AssetIndex, PriceRule);

/// Reads until nobody listens.
pub(crate) async fn follow(venue: Venue, coin: String, reread: Rc<Notify>, out: mpsc::Sender<MarketReading>) {
    let clocks = compare(venue.clone(), out.clone());
    let books = async {
        let mut reader = Reader { venue, coin, place: None, identity: None };
        loop {
            tokio::select! {
                () = reread.notified() => {}
                () = out.closed() => return,
            }
            let pause = match reader.read().await {
                Ok(reading) => {
                    if out.send(reading).await.is_err() {
                        return;
                    }
                    DEBOUNCE
                }
                Err(error) => {
                    tracing::warn!(%error, coin = reader.coin, "the market could not be read");
                    AFTER_FAILURE
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    tokio::join!(clocks, books);
}

async fn compare(venue: Venue, out: mpsc::Sender<MarketReading>) {
    loop {
        let sample = venue.venue_time().await.ok().and_then(|time| time.clock());
        let pause = if sample.is_some() { CLOCK_EVERY } else { CLOCK_AGAIN };
        if let Some(sample) = sample
            && out.send(MarketReading::Clock(sample)).await.is_err()
        {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = out.closed() => return,
        }
    }
}

struct Reader {
    venue: Venue,
    coin: String,
    /// Where the coin is listed.
    place: Option<(Dex, usize)>,
    /// What it was when first seen.
    identity: Option<Identity>,
}

impl Reader {
    async fn read(&mut self) -> Result<MarketReading, ReadError> {
        let coin = self.coin.clone();
        let missing = |what: &str| ReadError::Shape(format!("{what} {coin}"));
        let asked = self.venue.now();
        let (dex, position) = match self.place.clone() {
            Some(place) => place,
            None => self.find().await?,
        };
        let contexts = self.venue.meta_and_contexts(&dex, position).await?;
        let (asset, context) = contexts
            .into_iter()
            .find(|(asset, _)| asset.coin == self.coin)
            .ok_or_else(|| missing("the venue does not list"))?;
        if asset.delisted {
            return Err(missing("the venue has delisted"));
        }
        if self.differs(&asset) {
            return Ok(MarketReading::Changed);
        }
        let book = self.venue.l2_book(&self.coin).await?.ok_or_else(|| missing("the venue has no book of"))?;
        let received = self.venue.now();
        Ok(MarketReading::Market { asked, received, book: Box::new(book), mark: context.mark_px })
    }

    /// Names of builder dexes stand before a colon; without one it is the first dex.
    async fn find(&mut self) -> Result<(Dex, usize), ReadError> {
        let wanted = self.coin.split_once(':').map_or("", |(dex, _)| dex);
        let dexes = self.venue.perp_dexs().await?;
        let place = dexes
            .into_iter()
            .enumerate()
            .find(|(_, dex)| dex.as_str() == wanted)
            .map(|(position, dex)| (dex, position))
            .ok_or_else(|| ReadError::Shape(format!("the venue has no dex {wanted:?}")))?;
        self.place = Some(place.clone());
        Ok(place)
    }

    fn differs(&mut self, asset: &Asset) -> bool {
        let now = (asset.index, asset.rule);
        let first = *self.identity.get_or_insert(now);
        if first != now {
            tracing::error!(
                coin = self.coin,
                ?first,
                ?now,
                "index or decimals changed; not to be traded until restarted"
            );
        }
        first != now
    }
}
