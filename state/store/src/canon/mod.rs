//! Canonical JSON: one value has one text, and every hash of ours is over that text.
//!
//! * Keys sorted by code point and never twice, no white space, ASCII only, one form for every number.
//! * An integer and a float are different things: `1` and `1.0` have different hashes. A NaN has no form and is refused.
//! * [`encode`] writes it; [`is_canonical`] checks bytes against it without building a tree; [`parse`] reads JSON strictly.

mod check;
mod float;
mod strict;
#[cfg(test)]
mod tests;
mod write;

use holdfast_core::checksum::Checksum;
use serde::Serialize;
use sha2::{Digest, Sha256};

pub use check::{FormError, is_canonical};
pub use strict::parse;
pub use write::{CanonError, encode};

/// The canonical text of a double, for a writer that builds a line by hand.
///
/// # Errors
/// [`CanonError::NotANumber`] for NaN and the infinities.
pub fn number(value: f64) -> Result<String, CanonError> {
    let mut text = Vec::with_capacity(24);
    float::write(&mut text, value).map_err(|_| CanonError::NotANumber)?;
    // Digits, a sign, a point and an `e`.
    Ok(text.into_iter().map(char::from).collect())
}

/// The checksum of a value: over its canonical text.
///
/// # Errors
/// [`CanonError`] if it has none.
pub fn checksum<T: Serialize + ?Sized>(value: &T) -> Result<Checksum, CanonError> {
    Ok(Checksum(Sha256::digest(encode(value)?).into()))
}

/// How deep arrays and objects may stand in each other: what is written must be readable by any reader.
pub const DEPTH_MAX: usize = 100;
