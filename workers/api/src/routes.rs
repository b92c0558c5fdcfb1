//! The routes, and the headers every answer carries.

use crate::feeds::Observed;
use crate::gate::{self, Refusal};
use crate::history::{CycleRow, History};
use crate::hub::Hub;
use crate::metrics;
use crate::pages::{Asset, Cockpit};
use crate::snapshot::Snapshot;
use arc_swap::ArcSwapOption;
use askama::Template;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::Stream;
use holdfast_core::status::StatusDoc;
use holdfast_core::time::Tick;
use holdfast_ipc::bootstrap::Token;
use holdfast_ipc::clock;
use holdfast_ipc::feed::{FromEngine, FromSensor};
use serde::Serialize;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tower_http::timeout::TimeoutLayer;

/// Version of the contract the status follows.
const CONTRACT_VERSION: &str = "5.2";
/// Longest time to an answer; event streams are exempt.
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);
/// A comment on a quiet stream, so that both ends notice a dead one.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Headers of every answer.
const HEADERS: [(&str, &str); 9] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
         frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
    ("cache-control", "no-store"),
    ("connection", "close"),
];

/// What the worker's loop and the routes share.
pub(crate) struct Shared {
    /// The port that was bound.
    pub(crate) port: u16,
    /// Our build.
    pub(crate) build_id: String,
    /// What a writing request must show.
    pub(crate) token: Token,
    /// The last document.
    pub(crate) snapshot: ArcSwapOption<Snapshot>,
    /// For fresh pages.
    pub(crate) history: Mutex<History>,
    /// Open event streams.
    pub(crate) hub: Hub,
    /// To the worker's loop, which holds the link to the supervisor.
    pub(crate) emergency: mpsc::Sender<oneshot::Sender<bool>>,
}

impl Shared {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The document, if it may be shown now.
    pub(crate) fn fresh(&self, now: Tick) -> Option<Arc<Snapshot>> {
        self.snapshot.load_full().filter(|snapshot| snapshot.is_fresh(now))
    }

    /// Takes a pushed document; a fresh one goes to the streams at once.
    pub(crate) fn take_status(&self, doc: Box<StatusDoc>, now: Tick) {
        let snapshot = Arc::new(Snapshot { doc: *doc });
        if snapshot.is_fresh(now)
            && self.hub.has_clients()
            && let Some(text) = snapshot.event()
        {
            self.hub.publish(&Event::default().event("status").data(text));
        }
        self.snapshot.store(Some(snapshot));
    }

    /// Takes an observation of another worker.
    pub(crate) fn take_observed(&self, seen: Observed) {
        match seen {
            Observed::Sensor(message) => match *message {
                FromSensor::Market(view) => {
                    self.history().market(&view);
                    self.say("market", &view);
                }
                FromSensor::Account(view) => {
                    self.history().account(&view);
                    self.say("account", &view);
                }
                FromSensor::AccountUnknown { detail } => {
                    self.say("account_unknown", &serde_json::json!({ "detail": detail }));
                }
                FromSensor::Fill(fill) => {
                    if self.history().fill(&fill) {
                        self.say("fill", &fill);
                    }
                }
            },
            Observed::Engine(message) => {
                let FromEngine::Cycle { coin, bar, close, signal_bps, action, detail } = *message;
                let row = CycleRow { t: clock::wall_ms(), coin, bar, close, signal_bps, action, detail };
                let row = self.history().cycle(row);
                self.say("cycle", &row);
            }
        }
    }

    fn say<T: Serialize>(&self, kind: &str, what: &T) {
        if self.hub.has_clients()
            && let Ok(text) = serde_json::to_string(what)
        {
            self.hub.publish(&Event::default().event(kind).data(text));
        }
    }
}

/// The whole surface.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let timed = Router::new()
        .route("/", get(cockpit))
        .route("/assets/cockpit.js", get(Asset::CockpitJs))
        .route("/assets/cockpit.css", get(Asset::CockpitCss))
        .route("/assets/uplot.js", get(Asset::UplotJs))
        .route("/assets/uplot.css", get(Asset::UplotCss))
        .route("/assets/icon.svg", get(Asset::Icon))
        .route("/api/v1/health", get(health))
        .route("/api/v1/status", get(status))
        .route("/api/v1/history", get(history))
        .route("/metrics", get(scrape))
        .route(gate::EMERGENCY, post(emergency))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_DEADLINE));
    timed
        .route("/api/v1/events", get(events))
        .fallback(|| async { Refusal::Unknown })
        .layer(from_fn_with_state(shared.clone(), guard))
        .with_state(shared)
}

async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let mut response = match gate::admit(shared.port, request.method(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

fn json(body: impl IntoResponse) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

async fn cockpit(State(shared): State<Arc<Shared>>) -> Response {
    match (Cockpit { build_id: &shared.build_id }).render() {
        Ok(page) => Html(page).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn health(State(shared): State<Arc<Shared>>) -> Response {
    axum::Json(serde_json::json!({
        "ok": true,
        "build_id": shared.build_id,
        "contract_version": CONTRACT_VERSION,
    }))
    .into_response()
}

async fn status(State(shared): State<Arc<Shared>>) -> Response {
    match shared.fresh(clock::now()).and_then(|snapshot| snapshot.body()) {
        Some(body) => json(body),
        None => Refusal::Stale.into_response(),
    }
}

async fn history(State(shared): State<Arc<Shared>>) -> Response {
    let body = serde_json::to_vec(&*shared.history());
    match body {
        Ok(body) => json(body),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn scrape(State(shared): State<Arc<Shared>>) -> Response {
    let text = metrics::render(shared.fresh(clock::now()), shared.hub.counts());
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    text.map_or_else(
        |_| StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        |text| ([(CONTENT_TYPE, kind)], text).into_response(),
    )
}

async fn events(State(shared): State<Arc<Shared>>) -> Response {
    let Some(queue) = shared.hub.join() else { return Refusal::Full.into_response() };
    let first = shared
        .fresh(clock::now())
        .and_then(|snapshot| snapshot.event())
        .map(|text| Event::default().event("status").data(text));
    let hello = Event::default().retry(Duration::from_secs(1)).comment("holdfast");
    Sse::new(stream(hello, first, queue)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

fn stream(
    hello: Event,
    first: Option<Event>,
    queue: mpsc::Receiver<Event>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    use futures_util::stream::{StreamExt, iter, unfold};
    let opening = iter([Some(hello), first].into_iter().flatten().map(Ok));
    opening.chain(unfold(queue, |mut queue| async move { queue.recv().await.map(|event| (Ok(event), queue)) }))
}

async fn emergency(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if let Err(refusal) = gate::may_write(shared.port, &shared.token, &headers) {
        return refusal.into_response();
    }
    let (answer, taken) = oneshot::channel();
    if shared.emergency.try_send(answer).is_err() || !taken.await.unwrap_or(false) {
        return Refusal::Supervisor.into_response();
    }
    (StatusCode::ACCEPTED, axum::Json(serde_json::json!({ "accepted": "emergency_reduce_only" }))).into_response()
}
