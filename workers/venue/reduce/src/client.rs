//! The HTTP connection to one venue: bounded, with a deadline on everything, no redirects, no proxy, no retries.

use crate::budget::{ALONE, Budget, OverBudget, Purpose, Share};
use crate::clock::ClockFn;
use crate::outcome::{Expect, Outcome, Unknown, cut, read_answer};
use crate::tls;
use crate::wire::{Address, Network};
use bytes::BytesMut;
use holdfast_core::time::Tick;
use reqwest::{Client, Response};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// Largest answer that is read.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Connections kept open while nothing is asked: a full read of an account asks for the list of dexes, and for orders and
/// positions of each dex, at once.
pub const IDLE_LINES_MAX: usize = 8;

/// How to reach one venue, and on whose behalf.
#[derive(Clone, Debug)]
pub struct VenueConfig {
    /// `https://host`, or `http://` to a loopback address; no path.
    pub base_url: String,
    /// Which network signatures are for.
    pub network: Network,
    /// The account **that holds the position** (master, sub-account or vault), never the agent's own address.
    pub account: Address,
    /// Named in actions when the signer trades for a sub-account or vault; then equal to `account`.
    pub vault: Option<Address>,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for a whole answer.
    pub total_timeout: Duration,
    /// This process's share of the venue's request weight.
    pub share: Share,
    /// The boot clock.
    pub clock: ClockFn,
}

impl VenueConfig {
    /// Defaults: connect 1 s, total 2 s, the weight of one address for itself alone.
    #[must_use]
    pub fn new(base_url: &str, network: Network, account: Address, clock: ClockFn) -> Self {
        Self {
            base_url: base_url.trim_end_matches('/').to_owned(),
            network,
            account,
            vault: None,
            connect_timeout: Duration::from_secs(1),
            total_timeout: Duration::from_secs(2),
            share: ALONE,
            clock,
        }
    }

    /// Checks the URL: `https` anywhere, plain `http` only to this host.
    ///
    /// # Errors
    /// [`ConfigError::Url`].
    pub fn check(&self) -> Result<reqwest::Url, ConfigError> {
        let url = reqwest::Url::parse(&self.base_url).map_err(|e| ConfigError::Url(e.to_string()))?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        match url.scheme() {
            "https" | "http" if !plain => Err(ConfigError::Url("only a scheme, host and port belong here".to_owned())),
            "https" => Ok(url),
            "http" if loopback => Ok(url),
            "http" => Err(ConfigError::Url("plain http is for loopback addresses only".to_owned())),
            other => Err(ConfigError::Url(format!("unknown scheme {other:?}"))),
        }
    }

    /// The socket's URL: `ws(s)://host/ws`.
    ///
    /// # Errors
    /// [`ConfigError::Url`].
    pub fn socket_url(&self) -> Result<String, ConfigError> {
        self.check()?;
        Ok(format!("{}/ws", self.base_url.replacen("http", "ws", 1)))
    }
}

/// Why a client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The base URL is not usable.
    #[error("venue url refused: {0}")]
    Url(String),
    /// TLS or the HTTP client could not be set up.
    #[error("http client cannot be built: {0}")]
    Build(String),
}

/// Why a read has no answer. Never "empty".
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Our own share of request weight is spent.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// No answer in time.
    #[error("venue did not answer in time")]
    Timeout,
    /// No connection.
    #[error("venue cannot be reached: {0}")]
    Connect(String),
    /// The connection broke.
    #[error("connection to the venue failed: {0}")]
    Transport(String),
    /// 429.
    #[error("venue is throttling this address")]
    Throttled,
    /// Another HTTP status.
    #[error("venue answered with status {0}: {1}")]
    Status(u16, String),
    /// The answer is larger than [`ANSWER_BYTES_MAX`].
    #[error("venue's answer is too large")]
    TooLarge,
    /// The answer is not what this read expects, or lacks something safety rests on.
    #[error("venue's answer is not understood: {0}")]
    Shape(String),
}

#[derive(Debug)]
struct Inner {
    http: Client,
    info: reqwest::Url,
    exchange: reqwest::Url,
    config: VenueConfig,
    budget: Budget,
}

/// One venue, seen by one process. Cheap to clone; clones share connections and budget.
#[derive(Clone, Debug)]
pub struct Venue {
    inner: Arc<Inner>,
    purpose: Purpose,
}

/// What every connection to a venue has in common: own TLS roots, no proxy, no redirect, no retry, deadlines. It takes a
/// builder, so that only a crate that may name the HTTP client can make one.
///
/// # Errors
/// [`ConfigError::Build`] when the TLS configuration is refused.
pub fn hardened(http: reqwest::ClientBuilder, config: &VenueConfig) -> Result<reqwest::ClientBuilder, ConfigError> {
    let tls = tls::client_config().map_err(|e| ConfigError::Build(e.to_string()))?;
    Ok(http
        .tls_backend_preconfigured(tls.as_ref().clone())
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(config.connect_timeout)
        .timeout(config.total_timeout)
        .pool_idle_timeout(Duration::from_secs(20))
        .tcp_nodelay(true))
}

impl Venue {
    /// Builds the client. Connects to nothing yet.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn new(config: VenueConfig) -> Result<Self, ConfigError> {
        let base = config.check()?;
        let http = hardened(Client::builder(), &config)?.pool_max_idle_per_host(IDLE_LINES_MAX).build();
        let http = http.map_err(|e| ConfigError::Build(e.to_string()))?;
        let info = base.join("/info").map_err(|e| ConfigError::Url(e.to_string()))?;
        let exchange = base.join("/exchange").map_err(|e| ConfigError::Url(e.to_string()))?;
        let budget = Budget::new(config.share);
        Ok(Self { inner: Arc::new(Inner { http, info, exchange, config, budget }), purpose: Purpose::Observe })
    }

    /// The same venue, whose reads serve a reduction: counted, never refused by the budget.
    #[must_use]
    pub fn for_reducing(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), purpose: Purpose::Reduce }
    }

    /// What it was built with.
    #[must_use]
    pub fn config(&self) -> &VenueConfig {
        &self.inner.config
    }

    /// The account read by default.
    #[must_use]
    pub fn account(&self) -> Address {
        self.inner.config.account
    }

    /// The network signatures are for.
    #[must_use]
    pub fn network(&self) -> Network {
        self.inner.config.network
    }

    /// Request weight of this process, shared by all clones.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.inner.budget
    }

    /// The boot clock.
    #[must_use]
    pub fn now(&self) -> Tick {
        (self.inner.config.clock)()
    }

    /// Asks `/info`; `weight` is booked first.
    pub(crate) async fn post_info<B: Serialize>(&self, body: &B, weight: u32) -> Result<BytesMut, ReadError> {
        self.inner.budget.take(self.now(), weight, self.purpose)?;
        let body = serde_json::to_vec(body).map_err(|e| ReadError::Shape(e.to_string()))?;
        let (status, body) = self.post(&self.inner.info, body).await?;
        match status {
            200 => Ok(body),
            429 => Err(ReadError::Throttled),
            code => Err(ReadError::Status(code, cut(&String::from_utf8_lossy(&body)))),
        }
    }

    /// Sends a signed reducing action and reads its verdicts. Private to this crate: see the crate's promise.
    pub(crate) async fn post_exchange(&self, body: Vec<u8>, weight: u32, expect: Expect) -> Vec<Outcome> {
        self.inner.budget.charge(self.now(), weight);
        match self.post(&self.inner.exchange, body).await {
            Ok((status, body)) => read_answer(status, &body, expect),
            Err(error) => expect.all(&failed_send(error)),
        }
    }

    async fn post(&self, url: &reqwest::Url, body: Vec<u8>) -> Result<(u16, BytesMut), ReadError> {
        let request =
            self.inner.http.post(url.clone()).header(reqwest::header::CONTENT_TYPE, "application/json").body(body);
        let response = request.send().await.map_err(http_error)?;
        let status = response.status().as_u16();
        Ok((status, bounded_body(response).await?))
    }
}

/// What a failed send means: a connection that was never made carried nothing; everything else may have.
fn failed_send(error: ReadError) -> Outcome {
    match error {
        ReadError::Connect(_) | ReadError::OverBudget(_) => Outcome::not_sent(&error),
        ReadError::Timeout => Outcome::Unknown(Unknown::Timeout),
        ReadError::Throttled => Outcome::Unknown(Unknown::Throttled),
        ReadError::Status(code, text) => Outcome::Unknown(Unknown::Status(code, text)),
        ReadError::Transport(text) => Outcome::Unknown(Unknown::Transport(text)),
        ReadError::TooLarge | ReadError::Shape(_) => Outcome::Unknown(Unknown::Shape(error.to_string())),
    }
}

fn http_error(error: reqwest::Error) -> ReadError {
    if error.is_connect() {
        ReadError::Connect(cut(&chain(&error)))
    } else if error.is_timeout() {
        ReadError::Timeout
    } else {
        ReadError::Transport(cut(&chain(&error)))
    }
}

/// The error and its causes, without the URL.
fn chain(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        cause = error.source();
    }
    if text.is_empty() { "request failed".to_owned() } else { text }
}

async fn bounded_body(mut response: Response) -> Result<BytesMut, ReadError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(http_error)? {
        if body.len().saturating_add(chunk.len()) > ANSWER_BYTES_MAX {
            return Err(ReadError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_only_to_this_host() {
        for (url, good) in [
            ("http://127.0.0.1:3001", true),
            ("http://[::1]:3001", true),
            ("http://localhost:1/", true),
            ("https://api.example.org", true),
            ("http://api.example.org", false),
            ("http://10.0.0.1", false),
            ("https://api.example.org/path", false),
            ("https://user@api.example.org", false),
            ("ftp://127.0.0.1", false),
            ("", false),
        ] {
            let config = VenueConfig::new(url, Network::Testnet, Address::new([1; 20]), || Tick(0));
            assert_eq!(config.check().is_ok(), good, "{url:?}");
            assert_eq!(Venue::new(config).is_ok(), good, "{url:?}");
        }
        let config = VenueConfig::new("https://api.example.org/", Network::Mainnet, Address::new([1; 20]), || Tick(0));
        assert_eq!(config.socket_url().unwrap(), "wss://api.example.org/ws");
    }
}
