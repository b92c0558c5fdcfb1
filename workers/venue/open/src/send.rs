//! The order path's own HTTP connection: nothing else shares it, nothing retries on it.

use holdfast_venue_reduce::client::{ANSWER_BYTES_MAX, ConfigError, VenueConfig, hardened};
use holdfast_venue_reduce::outcome::{Expect, Outcome, Unknown, read_answer};
use reqwest::{Client, Response, Url};

/// Posts signed actions to one venue.
#[derive(Debug)]
pub(crate) struct Sender {
    http: Client,
    exchange: Url,
    info: Url,
}

impl Sender {
    pub(crate) fn new(config: &VenueConfig) -> Result<Self, ConfigError> {
        let exchange = config.check()?.join("/exchange").map_err(|e| ConfigError::Url(e.to_string()))?;
        let info = config.check()?.join("/info").map_err(|e| ConfigError::Url(e.to_string()))?;
        let http = hardened(Client::builder(), config)?.pool_max_idle_per_host(2).build();
        let http = http.map_err(|e| ConfigError::Build(e.to_string()))?;
        Ok(Self { http, exchange, info })
    }

    /// Asks for the venue's time on the order path's own connection. True when it answered.
    pub(crate) async fn warm(&self) -> bool {
        let ask = self.http.post(self.info.clone()).header(reqwest::header::CONTENT_TYPE, "application/json");
        match ask.body(r#"{"type":"exchangeStatus"}"#).send().await {
            Ok(response) => response.status().as_u16() == 200 && bounded_body(response).await.is_ok(),
            Err(_) => false,
        }
    }

    /// A request that is complete but for the moment it leaves.
    pub(crate) fn prepare(&self, body: Vec<u8>) -> Result<reqwest::Request, reqwest::Error> {
        self.http
            .post(self.exchange.clone())
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .body(body)
            .build()
    }

    pub(crate) async fn send(&self, request: reqwest::Request, expect: Expect) -> Outcome {
        let verdicts = match self.http.execute(request).await {
            Err(error) => return failed(&error),
            Ok(response) => {
                let status = response.status().as_u16();
                match bounded_body(response).await {
                    Ok(body) => read_answer(status, &body, expect),
                    Err(outcome) => return outcome,
                }
            }
        };
        verdicts.into_iter().next().unwrap_or_else(|| Outcome::Unknown(Unknown::Shape("no verdict".to_owned())))
    }
}

/// A connection that was never made carried nothing; everything else may have.
fn failed(error: &reqwest::Error) -> Outcome {
    if error.is_connect() {
        Outcome::not_sent(&"venue cannot be reached")
    } else if error.is_timeout() {
        Outcome::Unknown(Unknown::Timeout)
    } else {
        Outcome::Unknown(Unknown::Transport("connection to the venue failed".to_owned()))
    }
}

async fn bounded_body(mut response: Response) -> Result<Vec<u8>, Outcome> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
        if body.len().saturating_add(chunk.len()) > ANSWER_BYTES_MAX {
            return Err(Outcome::Unknown(Unknown::Shape("answer too large".to_owned())));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
