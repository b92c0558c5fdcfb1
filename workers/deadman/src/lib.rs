//! The dead-man heartbeat: renews the venue's own dead-man switch, watches the supervisor and the operator, and carries
//! out kill and flatten.
//!
//! * Its code can only reduce risk: it does not depend on the crate that can open, and every close is built by
//!   arithmetic on a fresh read.
//! * It never gives up on a job: every round ends in a verdict, and only a proof of flat ends the job.
//! * If the supervisor is gone and nobody takes over, it acts by itself; after a planned stop it just leaves.
//! * No disk, no supervisor and no answering venue is a reason to end or to wedge.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a failed expectation is how a test speaks"
    )
)]

mod desk;
mod door;
pub mod ladder;
mod ledger;
mod operator;
mod record;
mod run;
mod switch;
mod watch;
mod witness;

use holdfast_ipc::clock;
use holdfast_ipc::settings::LiveNetwork;
use holdfast_kit::{Ctx, Exit};
use holdfast_venue_reduce::budget;
use holdfast_venue_reduce::client::{Venue, VenueConfig};
use holdfast_venue_reduce::nonce::Nonces;
use holdfast_venue_reduce::reduce::ReduceClient;
use holdfast_venue_reduce::sign::AgentKey;
use holdfast_venue_reduce::wire::{Address, Network};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for one answer of the venue. Longer than the client's default: a slow venue is still to be closed on.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);

/// The worker's body. Ends when drained, when the supervisor left after a planned stop, or when a lost supervisor's
/// account is flat. Fails only over its own key, the venue's URL or the configured account.
pub async fn run(ctx: Ctx) -> Exit {
    match set_up(&ctx) {
        Ok(desk) => {
            let kept = (ledger::Ledger::open(&ctx.home), witness::Witness::open(&ctx.home));
            run::Deadman::new(ctx, Rc::new(desk), kept).live().await
        }
        Err(why) => Exit::Failed(why),
    }
}

fn set_up(ctx: &Ctx) -> Result<desk::Desk, String> {
    let boot = &ctx.boot;
    let path = ctx.home.deadman_key();
    let key = AgentKey::load(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let url = boot.venue_url.as_deref().ok_or("no venue url was handed over")?;
    let account = boot.account.as_deref().ok_or("no account was handed over")?;
    let account: Address = account.parse().map_err(|e| format!("account {account}: {e}"))?;
    let network = match boot.settings.live.as_ref().map(|live| live.network) {
        Some(LiveNetwork::Mainnet) if boot.settings.profile == holdfast_core::registry::Profile::Live => {
            Network::Mainnet
        }
        Some(LiveNetwork::Mainnet | LiveNetwork::Testnet) | None => Network::Testnet,
    };
    let mut config = VenueConfig::new(url, network, account, clock::now);
    config.total_timeout = ANSWER_WITHIN;
    let paper = boot.settings.profile == holdfast_core::registry::Profile::Paper;
    config.share = if paper { budget::PAPER } else { budget::DEADMAN };
    let venue = Venue::new(config).map_err(|e| e.to_string())?;
    let nonces = Nonces::open_background(&ctx.home.deadman_nonce(), key.address()).unwrap_or_else(|error| {
        tracing::error!(%error, "nonces cannot be stored; reducing goes on without");
        Nonces::unstored()
    });
    Ok(desk::Desk::new(ReduceClient::new(&venue, Arc::new(key), Arc::new(nonces))))
}
