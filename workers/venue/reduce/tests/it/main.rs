//! The reducing client against a loopback server: what goes out, and what every kind of answer is taken for.
#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test speaks")]

mod actions;
mod reads;
mod recordings;
mod server;
mod stream;

use holdfast_core::time::Tick;
use holdfast_venue_reduce::client::{Venue, VenueConfig};
use holdfast_venue_reduce::nonce::Nonces;
use holdfast_venue_reduce::reduce::{ReduceClient, Timing};
use holdfast_venue_reduce::sign::AgentKey;
use holdfast_venue_reduce::wire::{Address, Network};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds that only grow enough for these tests.
fn clock() -> Tick {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Tick(u64::try_from(since.as_nanos()).unwrap())
}

fn config(url: &str) -> VenueConfig {
    let mut config = VenueConfig::new(url, Network::Testnet, Address::new([0xaa; 20]), clock);
    config.total_timeout = Duration::from_millis(400);
    config
}

fn venue(url: &str) -> Venue {
    Venue::new(config(url)).unwrap()
}

fn client(url: &str) -> ReduceClient {
    let key = AgentKey::from_hex(b"0123456789012345678901234567890123456789012345678901234567890123").unwrap();
    let nonces = Nonces::unstored();
    ReduceClient::new(&venue(url), Arc::new(key), Arc::new(nonces))
}

const AT: Timing = Timing { now_ms: 1_790_000_000_000, expires_after_ms: 1_790_000_005_000 };
