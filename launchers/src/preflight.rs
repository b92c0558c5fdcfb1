//! What is checked before anything is started: the market can be read, and ports given by name can be had.

use crate::config::Loaded;
use crate::error::Trouble;
use crate::latched::Latched;
use crate::out::{Out, plain};
use holdfast_core::ids::Role;
use holdfast_ipc::bootstrap::Home;
use holdfast_supervisor::instance;
use std::net::{Ipv4Addr, TcpListener};

/// The market named by flag or file must be usable. Where nobody named the coin to trade and the market does not hold the
/// default one, its first coin is traded: a recording of one coin is meant to be traded on.
pub(crate) fn market(loaded: &mut Loaded) -> Result<(), Trouble> {
    use holdfast_paper_venue::market::{Market, MarketSource};
    let Some(path) = loaded.settings.paper.market.clone() else { return Ok(()) };
    let configured = loaded.flags.market.is_none();
    match Market::open(&MarketSource::File { path: path.clone() }) {
        Ok(market) => {
            let configured = loaded.table.get("strategy").and_then(|section| section.get("coin")).is_some();
            let coin = &mut loaded.settings.strategy.coin;
            if let Some(first) = market.coins().first()
                && !configured
                && loaded.flags.coin.is_none()
                && market.coins().iter().all(|spec| spec.name != *coin)
            {
                coin.clone_from(&first.name);
                loaded.flags.coin = Some(first.name.clone());
            }
            Ok(())
        }
        Err(error) => Err(Trouble::Market { path, why: error.fault.to_string(), advice: error.advice(), configured }),
    }
}

/// Ports given by name must be free; the workers take them later, so this is advice in time, not a reservation.
///
/// The api only shows: with a kill or a flatten waiting for this start, its port is no reason to let it wait.
///
/// A worker that outlived its supervisor may hold one: the new supervisor ends it before it starts anybody.
pub(crate) fn ports(out: Out, home: &Home, loaded: &Loaded) -> Result<(), Trouble> {
    let settings = &loaded.settings;
    let left = instance::survivors(home);
    for (key, port, role) in
        [("api.port", settings.api.port, Role::Api), ("paper.port", settings.paper.port, Role::Venue)]
    {
        let Some(port) = port.filter(|_| left.iter().all(|(other, _)| *other != role)) else { continue };
        let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) else { continue };
        match Latched::of(home).filter(|_| role == Role::Api) {
            None => return Err(Trouble::Port { key, port, why: error.to_string() }),
            Some(latched) => out.note(&format!(
                "port {port} ({key}) is taken ({error}): starting all the same, restricted and without the api, because of what waits \
                 here: {}; then free the port, or change {key} in config.toml and run engine restart",
                plain(&latched.words())
            )),
        }
    }
    Ok(())
}
