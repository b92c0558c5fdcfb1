//! Every row of the published vectors, through the same functions `engine probe` calls.

use super::*;
use crate::wire::Side;

const VECTORS: &str = include_str!("../../../../../fixtures/venue/hyperliquid-signing.json");

#[derive(Deserialize)]
struct File {
    private_key: String,
    vectors: Vec<Row>,
    float_to_wire: Vec<WireRow>,
    market_price: Vec<PriceRow>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    action: Node,
    nonce: u64,
    vault: Option<Address>,
    expires_after: Option<u64>,
    is_mainnet: bool,
    msgpack_hex: String,
    action_hash: String,
    r: String,
    s: String,
    v: u8,
    address: Address,
}

#[derive(Deserialize)]
struct WireRow {
    r#in: String,
    wire: Option<String>,
}

#[derive(Deserialize)]
struct PriceRow {
    mid: Px,
    sz_decimals: u32,
    is_buy: bool,
    slippage_bps: u32,
    sdk_price_wire: Px,
}

fn vectors() -> File {
    serde_json::from_str(VECTORS).unwrap()
}

#[test]
fn every_signing_vector_byte_for_byte() {
    #[derive(Serialize)]
    struct Line<'a> {
        action: &'a Node,
        nonce: u64,
        vault: Option<Address>,
        expires_after: Option<u64>,
        is_mainnet: bool,
        key: &'a str,
    }
    let file = vectors();
    assert_eq!(file.vectors.len(), 18);
    for row in &file.vectors {
        let line = serde_json::to_string(&Line {
            action: &row.action,
            nonce: row.nonce,
            vault: row.vault,
            expires_after: row.expires_after,
            is_mainnet: row.is_mainnet,
            key: &file.private_key,
        })
        .unwrap();
        let expect = serde_json::to_string(&SignAnswer {
            msgpack_hex: row.msgpack_hex.clone(),
            action_hash: row.action_hash.clone(),
            r: row.r.clone(),
            s: row.s.clone(),
            v: row.v,
            address: row.address,
        })
        .unwrap();
        assert_eq!(sign(&line, true).unwrap(), expect, "{}", row.name);
    }
}

#[test]
fn every_wire_vector() {
    let file = vectors();
    assert_eq!(file.float_to_wire.len(), 17);
    for row in file.float_to_wire {
        for value in [format!("{:?}", row.r#in), row.r#in.clone()] {
            let answer = wire(&format!(r#"{{"value":{value},"kind":"raw"}}"#)).unwrap();
            match &row.wire {
                Some(text) => assert_eq!(answer, format!(r#"{{"wire":"{text}"}}"#), "{value}"),
                None => assert_eq!(answer, r#"{"error":"more than 8 decimals"}"#, "{value}"),
            }
        }
    }
}

#[test]
fn market_prices_stay_inside_the_bound_within_one_step_of_the_official_client() {
    let file = vectors();
    assert_eq!(file.market_price.len(), 6);
    for row in file.market_price {
        let rule = PriceRule::perp(row.sz_decimals).unwrap();
        let side = Side::of(row.is_buy);
        let ours = rule.bounded(row.mid, row.slippage_bps, side).unwrap();
        let bps = i64::from(row.slippage_bps);
        let bound = row.mid.moved_bps(if row.is_buy { bps } else { -bps }).unwrap();
        assert!(rule.is_legal(ours));
        assert!(if row.is_buy { ours <= bound } else { ours >= bound }, "{} {}", row.mid, ours);
        let step = Decimal::new(1, ours.get().scale().max(row.sdk_price_wire.get().scale()));
        assert!((ours.get() - row.sdk_price_wire.get()).abs() <= step, "{ours} {}", row.sdk_price_wire);
    }
}

#[test]
fn refusals() {
    let good = r#"{"action":{"type":"noop"},"nonce":1,"vault":null,"expires_after":null,"is_mainnet":true,"key":"0123456789012345678901234567890123456789012345678901234567890123"}"#;
    assert!(sign(good, true).is_ok());
    assert!(matches!(sign(good, false), Err(ProbeError::NotATestKey)));
    for bad in [
        good.replace("\"noop\"", "1.5"),
        good.replace("\"noop\"", "null"),
        good.replace(r#"{"type":"noop"}"#, r#"{"type":"noop","type":"noop"}"#),
        good.replace("0123", "zz"),
        good.replace("\"nonce\":1", "\"nonce\":-1"),
        good.replace("\"nonce\":1", "\"nonce\":1,\"more\":1"),
        String::new(),
    ] {
        assert!(sign(&bad, true).is_err(), "{bad}");
    }
    for (line, answer) in [
        (r#"{"value":"80459.5","sz_decimals":5,"kind":"price"}"#, r#"{"error":"not a legal price"}"#),
        (r#"{"value":"80459","sz_decimals":5,"kind":"price"}"#, r#"{"wire":"80459"}"#),
        (r#"{"value":"0","kind":"price"}"#, r#"{"error":"a price is above zero"}"#),
        (r#"{"value":"0.001","sz_decimals":2,"kind":"size"}"#, r#"{"error":"not a legal size"}"#),
        (r#"{"value":"0.010","sz_decimals":2,"kind":"size"}"#, r#"{"wire":"0.01"}"#),
        (r#"{"value":"1","sz_decimals":9,"kind":"size"}"#, r#"{"error":"size decimals out of range"}"#),
    ] {
        assert_eq!(wire(line).unwrap(), answer, "{line}");
    }
}
