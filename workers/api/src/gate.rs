//! What a request must be before any route sees it: addressed to this very loopback address, a known path, its method,
//! and without a body worth mentioning. Pure, so that every rule is a row in a table.

use axum::http::header::{ALLOW, AUTHORIZATION, CONTENT_LENGTH, HOST, ORIGIN, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use holdfast_ipc::bootstrap::Token;

/// Largest request body in bytes. No route needs one.
pub(crate) const BODY_BYTES_MAX: usize = 1024;

/// Every route and its only method.
pub(crate) const ROUTES: [(&str, Method); 11] = [
    ("/", Method::GET),
    ("/assets/cockpit.js", Method::GET),
    ("/assets/cockpit.css", Method::GET),
    ("/assets/uplot.js", Method::GET),
    ("/assets/uplot.css", Method::GET),
    ("/assets/icon.svg", Method::GET),
    ("/api/v1/health", Method::GET),
    ("/api/v1/status", Method::GET),
    ("/api/v1/events", Method::GET),
    ("/api/v1/history", Method::GET),
    ("/metrics", Method::GET),
];
/// The one route that writes.
pub(crate) const EMERGENCY: &str = "/api/v1/emergency/reduce_only";

/// Why a request is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The `Host` is not this loopback address: a page of somebody else's name may be behind it.
    Misdirected,
    /// No such path.
    Unknown,
    /// Known path, other method.
    Method(Method),
    /// Too large a body.
    Body,
    /// From a page of another origin.
    Origin,
    /// Without the token.
    Token,
    /// The document is too old or absent.
    Stale,
    /// As many event streams as are allowed.
    Full,
    /// The supervisor took no report.
    Supervisor,
}

impl Refusal {
    const fn parts(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Misdirected => (StatusCode::MISDIRECTED_REQUEST, "misdirected_request"),
            Self::Unknown => (StatusCode::NOT_FOUND, "not_found"),
            Self::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Body => (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large"),
            Self::Origin => (StatusCode::FORBIDDEN, "foreign_origin"),
            Self::Token => (StatusCode::UNAUTHORIZED, "token_required"),
            Self::Stale => (StatusCode::SERVICE_UNAVAILABLE, "status_stale"),
            Self::Full => (StatusCode::SERVICE_UNAVAILABLE, "too_many_streams"),
            Self::Supervisor => (StatusCode::SERVICE_UNAVAILABLE, "supervisor_unreachable"),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, error) = self.parts();
        let mut response = (status, axum::Json(serde_json::json!({ "error": error }))).into_response();
        match self {
            Self::Method(allowed) => {
                if let Ok(value) = HeaderValue::from_str(allowed.as_str()) {
                    response.headers_mut().insert(ALLOW, value);
                }
            }
            Self::Token => {
                response.headers_mut().insert("www-authenticate", HeaderValue::from_static("Bearer"));
            }
            Self::Misdirected
            | Self::Unknown
            | Self::Body
            | Self::Origin
            | Self::Stale
            | Self::Full
            | Self::Supervisor => {}
        }
        response
    }
}

fn names(port: u16) -> [String; 3] {
    [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}")]
}

/// The single value of a header; absent when missing, repeated or unreadable.
fn single<'a>(headers: &'a HeaderMap, name: &axum::http::HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.next().is_some() { None } else { first.to_str().ok() }
}

/// Judges a request before routing.
///
/// # Errors
/// The [`Refusal`] to answer with.
pub(crate) fn admit(port: u16, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let ours = |name: &str| names(port).iter().any(|own| own.eq_ignore_ascii_case(name));
    let host_ok = single(headers, &HOST).is_some_and(ours);
    if !host_ok || uri.authority().is_some_and(|authority| !ours(authority.as_str())) {
        return Err(Refusal::Misdirected);
    }
    let path = uri.path();
    let allowed = if path == EMERGENCY {
        Method::POST
    } else {
        ROUTES.iter().find(|(known, _)| *known == path).map(|(_, m)| m.clone()).ok_or(Refusal::Unknown)?
    };
    if *method != allowed {
        return Err(Refusal::Method(allowed));
    }
    let chunked = headers.contains_key(TRANSFER_ENCODING);
    let length = single(headers, &CONTENT_LENGTH).map(str::parse::<usize>);
    let small = match length {
        None => !headers.contains_key(CONTENT_LENGTH),
        Some(Ok(length)) => length <= BODY_BYTES_MAX,
        Some(Err(_)) => false,
    };
    if chunked || !small {
        return Err(Refusal::Body);
    }
    Ok(())
}

/// Judges whether a request may write: not from a foreign page, and with the token.
///
/// # Errors
/// [`Refusal::Origin`], then [`Refusal::Token`].
pub(crate) fn may_write(port: u16, token: &Token, headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key(ORIGIN) {
        let own = single(headers, &ORIGIN).and_then(|origin| origin.strip_prefix("http://"));
        if !own.is_some_and(|name| names(port).iter().any(|n| n == name)) {
            return Err(Refusal::Origin);
        }
    }
    let given = single(headers, &AUTHORIZATION).and_then(|value| {
        let (scheme, word) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| word.trim())
    });
    let known = given.and_then(|word| serde_json::from_value::<Token>(word.into()).ok());
    if known.is_some_and(|given| given.matches(token)) { Ok(()) } else { Err(Refusal::Token) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(rows: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in rows {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn requests_are_admitted_by_table() {
        let host = ("host", "127.0.0.1:80");
        for (method, uri, rows, expect) in [
            (Method::GET, "/", vec![host], Ok(())),
            (Method::GET, "/", vec![("host", "LOCALHOST:80")], Ok(())),
            (Method::GET, "/", vec![("host", "[::1]:80")], Ok(())),
            (Method::GET, "/api/v1/status?x=1", vec![host], Ok(())),
            (Method::GET, "/", vec![], Err(Refusal::Misdirected)),
            (Method::GET, "/", vec![("host", "127.0.0.1")], Err(Refusal::Misdirected)),
            (Method::GET, "/", vec![("host", "127.0.0.1:81")], Err(Refusal::Misdirected)),
            (Method::GET, "/", vec![("host", "evil.example:80")], Err(Refusal::Misdirected)),
            (Method::GET, "/", vec![host, host], Err(Refusal::Misdirected)),
            (Method::GET, "http://evil.example/", vec![host], Err(Refusal::Misdirected)),
            (Method::GET, "/nowhere", vec![host], Err(Refusal::Unknown)),
            (Method::HEAD, "/api/v1/status", vec![host], Err(Refusal::Method(Method::GET))),
            (Method::POST, "/api/v1/status", vec![host], Err(Refusal::Method(Method::GET))),
            (Method::OPTIONS, "/metrics", vec![host], Err(Refusal::Method(Method::GET))),
            (Method::GET, EMERGENCY, vec![host], Err(Refusal::Method(Method::POST))),
            (Method::POST, EMERGENCY, vec![host, ("content-length", "1025")], Err(Refusal::Body)),
            (Method::POST, EMERGENCY, vec![host, ("content-length", "x")], Err(Refusal::Body)),
            (Method::POST, EMERGENCY, vec![host, ("transfer-encoding", "chunked")], Err(Refusal::Body)),
            (Method::POST, EMERGENCY, vec![host, ("content-length", "2")], Ok(())),
        ] {
            let got = admit(80, &method, &uri.parse().unwrap(), &headers(&rows));
            assert_eq!(got, expect, "{method} {uri} {rows:?}");
        }
    }

    #[test]
    fn writing_takes_the_token_and_no_foreign_page() {
        let token = Token::new([7; 32]);
        let good = format!("Bearer {}", "07".repeat(32));
        let wrong = format!("Bearer {}", "08".repeat(32));
        for (rows, expect) in [
            (vec![("authorization", good.as_str())], Ok(())),
            (vec![("authorization", good.as_str()), ("origin", "http://127.0.0.1:80")], Ok(())),
            (vec![], Err(Refusal::Token)),
            (vec![("authorization", wrong.as_str())], Err(Refusal::Token)),
            (vec![("authorization", "Bearer ")], Err(Refusal::Token)),
            (vec![("authorization", "Basic x")], Err(Refusal::Token)),
            (vec![("authorization", good.as_str()), ("authorization", good.as_str())], Err(Refusal::Token)),
            (vec![("authorization", good.as_str()), ("origin", "https://127.0.0.1:80")], Err(Refusal::Origin)),
            (vec![("authorization", good.as_str()), ("origin", "http://evil.example")], Err(Refusal::Origin)),
            (vec![("authorization", good.as_str()), ("origin", "null")], Err(Refusal::Origin)),
        ] {
            assert_eq!(may_write(80, &token, &headers(&rows)), expect, "{rows:?}");
        }
    }
}
