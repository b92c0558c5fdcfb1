//! Published signatures recover to the published address, and a changed byte recovers to another.

use holdfast_paper_venue::addr::Addr;
use holdfast_paper_venue::sign::{Ordered, WireSignature, action_hash, recover, signing_digest};
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    action: Ordered,
    nonce: u64,
    vault: Option<Addr>,
    expires_after: Option<u64>,
    is_mainnet: bool,
    msgpack_hex: String,
    action_hash: String,
    r: String,
    s: String,
    sdk_r: String,
    sdk_s: String,
    v: u64,
    address: Addr,
}

#[test]
fn published_vectors_recover_the_right_address() {
    let file: File = serde_json::from_str(include_str!("../../../../fixtures/venue/hyperliquid-signing.json")).unwrap();
    assert!(file.vectors.len() > 5);
    for v in file.vectors {
        let packed: String = rmp_serde::to_vec(&v.action).unwrap().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(packed, v.msgpack_hex, "{}", v.name);
        let id = action_hash(&v.action, v.nonce, v.vault.as_ref(), v.expires_after).unwrap();
        let hex: String = id.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(format!("0x{hex}"), v.action_hash, "{}", v.name);
        let digest = signing_digest(&id, if v.is_mainnet { "a" } else { "b" });
        for (r, s) in [(&v.r, &v.s), (&v.sdk_r, &v.sdk_s)] {
            let signature = WireSignature { r: r.clone(), s: s.clone(), v: v.v };
            assert_eq!(recover(&digest, &signature).unwrap(), v.address, "{}", v.name);
        }
        let other = action_hash(&v.action, v.nonce + 1, v.vault.as_ref(), v.expires_after).unwrap();
        let signature = WireSignature { r: v.r, s: v.s, v: v.v };
        let wrong = recover(&signing_digest(&other, "b"), &signature);
        assert_ne!(wrong.ok(), Some(v.address), "a changed nonce must not recover the signer");
    }
}

#[test]
fn ordered_json_refuses_floats_repeats_and_depth() {
    for bad in ["1.5", r#"{"a":1,"a":2}"#, "[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]", "18446744073709551616"] {
        assert!(serde_json::from_str::<Ordered>(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_main_networks_letter_recovers_a_stranger() {
    let action: Ordered = serde_json::from_str(r#"{"type":"noop"}"#).unwrap();
    let id = action_hash(&action, 1, None, None).unwrap();
    assert_ne!(signing_digest(&id, "a"), signing_digest(&id, "b"));
}
