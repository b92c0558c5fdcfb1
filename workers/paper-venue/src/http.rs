//! The HTTP side: `/info`, `/exchange`, and the paper-only `/sim` endpoints.

use crate::addr::Addr;
use crate::faults::{self, FaultRequest, Kind as Fault};
use crate::listen::Line;
use crate::play::Player;
use crate::venue::{Answer, Venue};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use holdfast_core::money::Usd;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Largest request body.
const MAX_BODY: usize = 256 * 1024;
/// Furthest the clock can be stepped at once: a day of scenario.
const MAX_ADVANCE_MS: u64 = 86_400_000;

/// What every handler holds.
#[derive(Clone)]
pub(crate) struct App {
    venue: Arc<Mutex<Venue>>,
    pub(crate) player: Arc<Mutex<Player>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic aborts the process, so a poisoned lock can only be seen in a test that expects it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl App {
    pub(crate) fn new(venue: Venue, player: Player) -> Self {
        Self { venue: Arc::new(Mutex::new(venue)), player: Arc::new(Mutex::new(player)) }
    }

    pub(crate) fn venue(&self) -> MutexGuard<'_, Venue> {
        locked(&self.venue)
    }

    /// Plays the market up to the present, or `advance` ms further.
    pub(crate) async fn play(&self, advance: Option<u64>) -> u64 {
        loop {
            let (done, at) = {
                let mut venue = self.venue();
                let mut player = locked(&self.player);
                let done = player.step(&mut venue, advance);
                venue.settle();
                (done, player.scenario_ms())
            };
            if done {
                return at;
            }
            // A long step must not keep requests waiting.
            tokio::task::yield_now().await;
        }
    }

    /// One request with the injected faults around it: what both HTTP and the socket side call.
    pub(crate) async fn request(&self, path: &str, body: &[u8], line: Option<&Line>) -> Answer {
        let action = path == "/exchange";
        let boot_ms = |venue: &Venue| venue.now().boot_ms();
        let latency = {
            let mut venue = self.venue();
            let now = boot_ms(&venue);
            let here = |v: &Value| {
                v.get("path").and_then(Value::as_str).is_none_or(|p| p == path)
                    && v.get("types").and_then(Value::as_array).is_none_or(|types| types.contains(&type_of(body)))
            };
            let slow = venue.ex.faults.peek(Fault::Latency, None, now).is_some_and(here);
            if slow { venue.ex.faults.take(Fault::Latency, None, now) } else { None }
        };
        let ms = latency.as_ref().and_then(|v| faults::number(v, "ms")).and_then(|v| u64::try_from(v).ok());
        let after = latency.as_ref().and_then(|v| v.get("where")).and_then(Value::as_str) == Some("after");
        let wait = Duration::from_millis(ms.unwrap_or(0));
        if !after && !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let answer = {
            let mut venue = self.venue();
            let now = boot_ms(&venue);
            if let Some((status, text)) = turned_away(&mut venue, path, now) {
                if action { venue.action(body, Some((status, text))) } else { Answer::Plain(status, text.to_owned()) }
            } else if action {
                venue.action(body, None)
            } else {
                venue.info(body)
            }
        };
        if after && !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let mut venue = self.venue();
        let now = boot_ms(&venue);
        let garbled =
            venue.ex.faults.peek(Fault::GarbageBody, None, now).is_some_and(|v| v.as_str().is_none_or(|p| p == path));
        if garbled && venue.ex.faults.take(Fault::GarbageBody, None, now).is_some() {
            return Answer::Plain(200, "<html><body>upstream is having a moment</body></html>".to_owned());
        }
        if action
            && let Some(line) = line
            && venue.ex.faults.take(Fault::DropAfterExecute, None, now).is_some()
        {
            line.cut();
        }
        answer
    }
}

/// The type a request to `/info` names; `null` for anything else.
fn type_of(body: &[u8]) -> Value {
    serde_json::from_slice::<Value>(body).ok().and_then(|ask| ask.get("type").cloned()).unwrap_or_default()
}

fn turned_away(venue: &mut Venue, path: &str, now: u64) -> Option<(u16, &'static str)> {
    let by_ip = venue.ex.faults.peek(Fault::RateLimit, None, now).and_then(Value::as_str) == Some("ip");
    if by_ip && venue.ex.faults.take(Fault::RateLimit, None, now).is_some() {
        return Some((429, "rate limited"));
    }
    let fault = venue.ex.faults.peek(Fault::HttpError, None, now)?;
    let here = fault.get("path").and_then(Value::as_str).is_none_or(|p| p == path);
    let status = faults::number(fault, "status").and_then(|v| u16::try_from(v).ok()).unwrap_or(503);
    if here && venue.ex.faults.take(Fault::HttpError, None, now).is_some() {
        return Some((status, "injected error"));
    }
    None
}

fn respond(answer: Answer) -> Response {
    let (status, kind, body) = match answer {
        Answer::Json(value) => (200, "application/json", value.to_string()),
        Answer::Plain(status, text) => (status, "text/plain; charset=utf-8", text),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

async fn info(State(app): State<App>, body: Bytes) -> Response {
    respond(app.request("/info", &body, None).await)
}

async fn exchange(State(app): State<App>, ConnectInfo(line): ConnectInfo<Line>, body: Bytes) -> Response {
    respond(app.request("/exchange", &body, Some(&line)).await)
}

fn unprocessable(text: impl ToString) -> Response {
    respond(Answer::Plain(422, text.to_string()))
}

async fn inject(State(app): State<App>, body: Bytes) -> Response {
    let request: FaultRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return unprocessable(error),
    };
    let mut venue = app.venue();
    if request.coin.as_deref().is_some_and(|coin| venue.ex.market(coin).is_none()) {
        return unprocessable("no such coin");
    }
    let boot_ms = venue.now().boot_ms();
    let fault = match venue.ex.faults.inject(request, boot_ms) {
        Ok(fault) => fault,
        Err(error) => return unprocessable(error),
    };
    let now = venue.now();
    venue.ex.note_fault(&fault, now);
    venue.ex.tick(now);
    match fault.kind {
        Fault::WsDrop => venue.hub.end_all(&crate::hub::Push::Cut),
        Fault::SessionTerminated => venue.hub.end_all(&crate::hub::Push::Close("Expired")),
        Fault::Latency
        | Fault::HttpError
        | Fault::GarbageBody
        | Fault::DropAfterExecute
        | Fault::FeedFreeze
        | Fault::FeedGap
        | Fault::PriceJump
        | Fault::RejectAll
        | Fault::RejectOpen
        | Fault::PostOnlyWindow
        | Fault::PartialFill
        | Fault::RateLimit
        | Fault::DeadManIneligible
        | Fault::ClockSkew
        | Fault::LateFill
        | Fault::ForeignPosition
        | Fault::ForeignSpotOrder => {}
    }
    if fault.until_boot_ms.is_none() {
        // Cutting is done once; only with a span does it go on.
        for kind in [Fault::WsDrop, Fault::SessionTerminated] {
            if kind == fault.kind {
                venue.ex.faults.take(kind, None, boot_ms);
            }
        }
    }
    venue.settle();
    respond(Answer::Json(json!(fault)))
}

async fn list_faults(State(app): State<App>) -> Response {
    let mut venue = app.venue();
    let now = venue.now().boot_ms();
    venue.ex.faults.sweep(now);
    respond(Answer::Json(json!({"faults": venue.ex.faults.list()})))
}

async fn clear_faults(State(app): State<App>) -> Response {
    let mut venue = app.venue();
    let cleared = venue.ex.faults.clear();
    let now = venue.now();
    venue.ex.tick(now);
    venue.settle();
    respond(Answer::Json(json!({"cleared": cleared})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_ms: u64,
}

async fn step_clock(State(app): State<App>, body: Bytes) -> Response {
    match serde_json::from_slice::<Advance>(&body) {
        Ok(Advance { advance_ms }) if advance_ms <= MAX_ADVANCE_MS => {
            let at = app.play(Some(advance_ms)).await;
            respond(Answer::Json(json!({"scenario_ms": at})))
        }
        Ok(_) => unprocessable("advance_ms is at most a day"),
        Err(error) => unprocessable(error),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    address: Addr,
    usd: Usd,
    #[serde(default)]
    agents: Vec<Addr>,
    #[serde(default)]
    volume: Option<Usd>,
}

async fn open_account(State(app): State<App>, body: Bytes) -> Response {
    let new: NewAccount = match serde_json::from_slice(&body) {
        Ok(new) => new,
        Err(error) => return unprocessable(error),
    };
    let too_much = Usd::new(rust_decimal::Decimal::from(1_000_000_000)).unwrap_or(Usd::ZERO);
    if new.usd < Usd::ZERO || new.usd > too_much || new.volume.is_some_and(|v| v < Usd::ZERO || v > too_much) {
        return unprocessable("usd and volume go from 0 to 1000000000");
    }
    if new.agents.len() > 16 {
        return unprocessable("at most 16 agents");
    }
    let mut venue = app.venue();
    if venue.ex.counts().0 >= 1_000 {
        return unprocessable("1000 accounts are open");
    }
    let agents: Vec<(String, Addr)> =
        new.agents.iter().enumerate().map(|(at, agent)| (format!("agent{at}"), *agent)).collect();
    venue.ex.register(new.address, new.usd, new.volume.unwrap_or(Usd::ZERO), &agents);
    venue.settle();
    respond(Answer::Json(json!({"address": new.address, "ok": true})))
}

async fn state(State(app): State<App>) -> Response {
    let mut venue = app.venue();
    let player = locked(&app.player);
    let now = venue.now();
    venue.ex.faults.sweep(now.boot_ms());
    let (accounts, live) = venue.ex.counts();
    let marks: serde_json::Map<String, Value> =
        venue.ex.markets().map(|m| (m.spec.name.clone(), json!(m.mark()))).collect();
    respond(Answer::Json(json!({
        "venue_ms": now.ms, "boot_ns": now.boot_ns, "scenario_ms": player.scenario_ms(), "speed": player.speed(),
        "market": player.describe(), "marks": marks, "accounts": accounts, "open_orders": live,
        "main": venue.ex.main(), "sockets": venue.hub.len(), "faults": venue.ex.faults.list().len(),
        "witness": {"healthy": venue.witness.healthy(), "written": venue.witness.written(), "lost": venue.witness.lost()},
        "books_behind": venue.store.behind(),
    })))
}

async fn not_found() -> Response {
    respond(Answer::Plain(404, "no such path".to_owned()))
}

/// All routes.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/info", post(info))
        .route("/exchange", post(exchange))
        .route("/sim/fault", post(inject))
        .route("/sim/faults", get(list_faults).delete(clear_faults))
        .route("/sim/clock", post(step_clock))
        .route("/sim/account", post(open_account))
        .route("/sim/state", get(state))
        .fallback(not_found)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(app)
}
