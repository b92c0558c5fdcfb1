//! The venue's vocabulary on the wire: identifiers, numbers, legal prices. Nothing here sends anything.

mod hex;
mod ids;
mod number;
mod price;

pub(crate) use hex::{decode as hex_decode, encode as hex_encode};
pub use ids::{Address, AssetIndex, BadId, Cloid, Dex, Network, Oid, Side, Tif};
pub use number::{BadWire, parse_plain, wire_number, wire_px, wire_sz};
pub use price::PriceRule;
