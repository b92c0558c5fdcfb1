//! The configuration: the shape of `config.toml`, its defaults, and what makes it refused.
//!
//! An absent file means the paper defaults written here and shown by `engine config show`. Unknown keys are refused.

use holdfast_core::money::Usd;
use holdfast_core::registry::Profile;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What this home is for.
    pub profile: Profile,
    /// The HTTP API.
    pub api: ApiSettings,
    /// The paper venue.
    pub paper: PaperSettings,
    /// A real venue; required by, and only read in, the live profile.
    pub live: Option<LiveSettings>,
    /// The demonstration strategy.
    pub strategy: StrategySettings,
    /// Hard limits checked before every opening order.
    pub limits: LimitSettings,
    /// The dead-man switches.
    pub deadman: DeadmanSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            profile: Profile::Paper,
            api: ApiSettings::default(),
            paper: PaperSettings::default(),
            live: None,
            strategy: StrategySettings::default(),
            limits: LimitSettings::default(),
            deadman: DeadmanSettings::default(),
        }
    }
}

/// The HTTP API. Always loopback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct ApiSettings {
    /// TCP port on 127.0.0.1. Absent = 8765, or a free one when that is taken. Given and taken = refuse to start.
    pub port: Option<u16>,
}

/// The paper venue and its market.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PaperSettings {
    /// A recorded market; absent = the bundled scenario, then a generated one for ever.
    pub market: Option<PathBuf>,
    /// Scenario milliseconds per wall millisecond; absent = what suits the source (60 for bars, 1 for ticks).
    pub speed: Option<u32>,
    /// Seed of the generated market.
    pub seed: u64,
    /// Opening balance in USD.
    pub start_usd: Usd,
    /// TCP port on 127.0.0.1; absent = any free one.
    pub port: Option<u16>,
}

impl Default for PaperSettings {
    fn default() -> Self {
        Self { market: None, speed: None, seed: 1, start_usd: whole_usd(10_000), port: None }
    }
}

/// A real venue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveSettings {
    /// Base URL, such as the venue's mainnet or testnet API.
    pub base_url: String,
    /// `mainnet` or `testnet`: decides the signature's network letter.
    pub network: LiveNetwork,
    /// Address of the account that holds the positions (never an agent's).
    pub account: String,
}

/// Which network signatures are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LiveNetwork {
    /// Real money.
    Mainnet,
    /// Play money on the venue's own test network.
    Testnet,
}

/// The demonstration strategy: two exponential averages of the mid price, one position at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StrategySettings {
    /// The coin it trades.
    pub coin: String,
    /// Length of a bar in milliseconds of venue time.
    pub bar_ms: u64,
    /// Bars of the fast average.
    pub fast_bars: u32,
    /// Bars of the slow average.
    pub slow_bars: u32,
    /// Distance between the averages that counts as a signal, in hundredths of a percent.
    pub enter_bps: u32,
    /// Loss at which a position is closed, in hundredths of a percent of the entry price.
    pub stop_bps: u32,
    /// Gain at which a position is closed, in hundredths of a percent of the entry price.
    pub take_bps: u32,
    /// Bars after which a position is closed whatever it did.
    pub hold_bars: u32,
    /// Size of a position in USD.
    pub order_usd: Usd,
    /// Worst price accepted by an immediate order, in hundredths of a percent from the touch.
    pub slippage_bps: u32,
}

impl Default for StrategySettings {
    fn default() -> Self {
        Self {
            coin: "BTC".to_owned(),
            bar_ms: 1000,
            fast_bars: 2,
            slow_bars: 6,
            enter_bps: 10,
            stop_bps: 150,
            take_bps: 200,
            hold_bars: 6,
            order_usd: whole_usd(200),
            slippage_bps: 20,
        }
    }
}

/// Hard limits. Reaching one blocks opening, never closing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    /// Largest notional of one opening order in USD.
    pub order_usd: Usd,
    /// Largest sum of position notionals, orders in flight included, in USD.
    pub exposure_usd: Usd,
    /// Opening orders in any 60 seconds.
    pub orders_per_minute: u32,
    /// Loss from the day's baseline (persisted; a restart or midnight does not forget a breach) in USD.
    pub daily_loss_usd: Usd,
    /// Venue requests kept back for exits; opening stops below this.
    pub exit_reserve_requests: u64,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            order_usd: whole_usd(500),
            exposure_usd: whole_usd(1000),
            orders_per_minute: 20,
            daily_loss_usd: whole_usd(250),
            exit_reserve_requests: 200,
        }
    }
}

/// What deadman does when the supervisor is gone and no successor takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnSupervisorLoss {
    /// Cancel every order; leave positions.
    Cancel,
    /// Cancel every order and close every position.
    Flatten,
}

/// The dead-man switches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadmanSettings {
    /// Policy when the supervisor is gone.
    pub on_supervisor_loss: OnSupervisorLoss,
    /// Hours within which the operator must run `engine heartbeat`; absent = off.
    pub operator_hours: Option<u32>,
}

impl Default for DeadmanSettings {
    fn default() -> Self {
        Self { on_supervisor_loss: OnSupervisorLoss::Flatten, operator_hours: None }
    }
}

fn whole_usd(amount: u32) -> Usd {
    Usd::whole(amount)
}

/// Why a configuration that parses is refused all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Dotted path of the key.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

impl Settings {
    /// Checks what the types cannot: relations and ranges.
    ///
    /// # Errors
    /// Every objection, so that a person can mend all at once.
    pub fn check(&self) -> Result<(), Vec<Refused>> {
        let mut wrong = Vec::new();
        let mut object = |bad: bool, key: &str, why: &str| {
            if bad {
                wrong.push(Refused { key: key.to_owned(), why: why.to_owned() });
            }
        };
        let strategy = &self.strategy;
        object(strategy.coin.is_empty() || strategy.coin.len() > 32, "strategy.coin", "needs 1 to 32 characters");
        object(!(100..=86_400_000).contains(&strategy.bar_ms), "strategy.bar_ms", "needs 100 to 86400000 milliseconds");
        object(strategy.fast_bars == 0, "strategy.fast_bars", "must be at least 1");
        object(
            strategy.slow_bars <= strategy.fast_bars || strategy.slow_bars > 10_000,
            "strategy.slow_bars",
            "must be larger than fast_bars and at most 10000",
        );
        for (value, key) in [
            (strategy.enter_bps, "strategy.enter_bps"),
            (strategy.stop_bps, "strategy.stop_bps"),
            (strategy.take_bps, "strategy.take_bps"),
        ] {
            object(!(1..5000).contains(&value), key, "needs 1 to 4999 hundredths of a percent");
        }
        object(!(1..=500).contains(&strategy.slippage_bps), "strategy.slippage_bps", "needs 1 to 500");
        object(strategy.hold_bars == 0, "strategy.hold_bars", "must be at least 1");
        let limits = &self.limits;
        for (value, key) in [
            (strategy.order_usd, "strategy.order_usd"),
            (limits.order_usd, "limits.order_usd"),
            (limits.exposure_usd, "limits.exposure_usd"),
            (limits.daily_loss_usd, "limits.daily_loss_usd"),
            (self.paper.start_usd, "paper.start_usd"),
        ] {
            object(value <= Usd::ZERO, key, "must be greater than zero");
        }
        object(strategy.order_usd > limits.order_usd, "strategy.order_usd", "is above limits.order_usd");
        object(limits.order_usd > limits.exposure_usd, "limits.order_usd", "is above limits.exposure_usd");
        object(limits.orders_per_minute == 0, "limits.orders_per_minute", "must be at least 1");
        object(self.paper.speed.is_some_and(|speed| !(1..=3600).contains(&speed)), "paper.speed", "needs 1 to 3600");
        object(
            self.deadman.operator_hours.is_some_and(|hours| !(1..=8760).contains(&hours)),
            "deadman.operator_hours",
            "needs 1 to 8760",
        );
        object(self.profile == Profile::Live && self.live.is_none(), "live", "the live profile needs this section");
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}
