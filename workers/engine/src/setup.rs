//! From the bootstrap to working hands.

use crate::desk::Desk;
use crate::scribe::Scribe;
use holdfast_core::permit::Holder;
use holdfast_core::registry::Profile;
use holdfast_ipc::bootstrap::{Bootstrap, Home};
use holdfast_ipc::clock;
use holdfast_ipc::permit::PermitReader;
use holdfast_ipc::settings::LiveNetwork;
use holdfast_venue_open::{Opener, OpenerError};
use holdfast_venue_reduce::budget;
use holdfast_venue_reduce::client::{ConfigError, Venue, VenueConfig};
use holdfast_venue_reduce::nonce::Nonces;
use holdfast_venue_reduce::reduce::ReduceClient;
use holdfast_venue_reduce::sign::{AgentKey, KeyError};
use holdfast_venue_reduce::wire::{Address, BadId, Network};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use thiserror::Error;

/// Why the engine cannot work at all. Risk: none is added; deadman and the operator can still close.
#[derive(Debug, Error)]
pub(crate) enum SetupError {
    /// The supervisor named no venue or account.
    #[error("the bootstrap names no {0}")]
    Missing(&'static str),
    /// The account is not an address.
    #[error("the account in the bootstrap is not an address: {0}")]
    Account(#[from] BadId),
    /// The trading key cannot be used.
    #[error("the engine's key cannot be used: {0}")]
    Key(#[from] KeyError),
    /// The venue client cannot be built.
    #[error(transparent)]
    Venue(#[from] ConfigError),
    /// The opener cannot be built.
    #[error(transparent)]
    Opener(#[from] OpenerError),
    /// The permit record cannot be opened.
    #[error("the permit record cannot be opened: {0}")]
    Permit(std::io::Error),
}

/// Builds the desk. Connects to nothing yet.
///
/// # Errors
/// [`SetupError`].
pub(crate) fn desk(boot: &Bootstrap, home: &Home, scribe: Scribe) -> Result<Desk, SetupError> {
    let url = boot.venue_url.as_deref().ok_or(SetupError::Missing("venue"))?;
    let account = boot.account.as_deref().ok_or(SetupError::Missing("account"))?;
    let network = match (boot.settings.profile, boot.settings.live.as_ref().map(|live| live.network)) {
        (Profile::Live, Some(LiveNetwork::Mainnet)) => Network::Mainnet,
        (Profile::Live, Some(LiveNetwork::Testnet)) | (Profile::Paper, _) => Network::Testnet,
        (Profile::Live, None) => return Err(SetupError::Missing("live section")),
        (Profile::Monitor, _) => return Err(SetupError::Missing("trading profile: a monitor cannot trade")),
    };
    let mut config = VenueConfig::new(url, network, account.parse::<Address>()?, clock::now);
    config.share = if boot.settings.profile == Profile::Paper { budget::PAPER } else { budget::ENGINE };
    let venue = Venue::new(config)?;
    let key = Arc::new(AgentKey::load(&home.engine_key())?);
    let nonces = Nonces::open(&home.engine_nonce(), key.address()).unwrap_or_else(|error| {
        tracing::error!(%error, "nonces cannot be stored: closing only");
        Nonces::unstored()
    });
    let nonces = Arc::new(nonces);
    let reduce = ReduceClient::new(&venue, Arc::clone(&key), Arc::clone(&nonces));
    let opener = match &boot.permit {
        None => None,
        Some(handed) => {
            let source = PermitReader::inherited(handed.fd).map_err(SetupError::Permit)?;
            let holder = Holder { epoch: boot.epoch, generation: boot.generation, key: handed.key.clone() };
            Some(Opener::new(&venue, key, nonces, Box::new(source), holder)?)
        }
    };
    Ok(Desk {
        reduce,
        watch: venue,
        opener,
        scribe,
        venue_clock: Cell::new(None),
        asset: RefCell::new(None),
        universe_read: Cell::new(None),
        coin: boot.settings.strategy.coin.clone(),
        account: account.to_owned(),
        epoch: boot.epoch,
        slippage_bps: boot.settings.strategy.slippage_bps,
        sends: Cell::new(0),
    })
}
