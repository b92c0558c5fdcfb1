//! The cockpit page and its assets: all in the binary, nothing from elsewhere.
//!
//! The page is delivered blank ("unknown, treat as Kill"): what it shows comes from the event stream alone, so a
//! saved, cached or script-less copy can never show a mode that has passed.

use askama::Template;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

/// The cockpit.
#[derive(Template)]
#[template(path = "cockpit.html")]
pub(crate) struct Cockpit<'a> {
    /// Build identity, for the footer.
    pub(crate) build_id: &'a str,
}

/// A file of the page.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asset {
    /// Our script.
    CockpitJs,
    /// Our style.
    CockpitCss,
    /// The chart library.
    UplotJs,
    /// Its style.
    UplotCss,
    /// The icon.
    Icon,
}

impl IntoResponse for Asset {
    fn into_response(self) -> Response {
        let (kind, body) = match self {
            Self::CockpitJs => ("text/javascript; charset=utf-8", include_str!("../assets/cockpit.js")),
            Self::CockpitCss => ("text/css; charset=utf-8", include_str!("../assets/cockpit.css")),
            Self::UplotJs => ("text/javascript; charset=utf-8", include_str!("../assets/uPlot.iife.min.js")),
            Self::UplotCss => ("text/css; charset=utf-8", include_str!("../assets/uPlot.min.css")),
            Self::Icon => ("image/svg+xml", include_str!("../assets/icon.svg")),
        };
        ([(CONTENT_TYPE, kind)], body).into_response()
    }
}
