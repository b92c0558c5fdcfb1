//! Who signed an action: an implementation of its own, sharing no code with the clients it judges.
//!
//! Guarantees that the bytes which are hashed are the bytes the client sent: keys in the order received, no float, no
//! duplicate key, and the smallest MessagePack form of every integer.

mod ordered;

pub use ordered::Ordered;

use crate::addr::Addr;
use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use serde::Deserialize;
use sha3::{Digest, Keccak256};

/// Why no signer could be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// r, s or v is not a number of the right size.
    #[error("signature is malformed")]
    Malformed,
    /// No public key produces this signature.
    #[error("signature recovers to no key")]
    NoKey,
    /// The action cannot be written as MessagePack.
    #[error("action cannot be encoded")]
    Encoding,
}

/// A signature as it travels: `r` and `s` in hex, leading zeros optional; `v` 27 or 28.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireSignature {
    /// First half.
    pub r: String,
    /// Second half.
    pub s: String,
    /// 27 plus the recovery id.
    pub v: u64,
}

fn keccak(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Keccak256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// Hash of an action, its nonce, vault and expiry ("connectionId").
///
/// # Errors
/// [`BadSignature::Encoding`] when the action holds something MessagePack of the venue has no form for.
pub fn action_hash(
    action: &Ordered,
    nonce: u64,
    vault: Option<&Addr>,
    expires_after: Option<u64>,
) -> Result<[u8; 32], BadSignature> {
    let mut bytes = rmp_serde::to_vec(action).map_err(|_| BadSignature::Encoding)?;
    bytes.extend_from_slice(&nonce.to_be_bytes());
    match vault {
        None => bytes.push(0),
        Some(vault) => {
            bytes.push(1);
            bytes.extend_from_slice(&vault.0);
        }
    }
    if let Some(expires) = expires_after {
        bytes.push(0);
        bytes.extend_from_slice(&expires.to_be_bytes());
    }
    Ok(keccak(&[&bytes]))
}

/// What the client put its signature on. `source` is `a` on the main network and `b` on every other, this one included.
#[must_use]
pub fn signing_digest(connection_id: &[u8; 32], source: &str) -> [u8; 32] {
    let domain_type =
        keccak(&[b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)".as_slice()]);
    let mut chain_id = [0_u8; 32];
    chain_id[30..].copy_from_slice(&1337_u16.to_be_bytes());
    let name = keccak(&[b"Exchange".as_slice()]);
    let version = keccak(&[b"1".as_slice()]);
    let domain = keccak(&[&domain_type, &name, &version, &chain_id, &[0_u8; 32]]);
    let agent_type = keccak(&[b"Agent(string source,bytes32 connectionId)".as_slice()]);
    let message = keccak(&[&agent_type, &keccak(&[source.as_bytes()]), connection_id]);
    keccak(&[&[0x19, 0x01], &domain, &message])
}

fn word(text: &str) -> Result<[u8; 32], BadSignature> {
    let digits = text.strip_prefix("0x").ok_or(BadSignature::Malformed)?;
    if digits.is_empty() || digits.len() > 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(BadSignature::Malformed);
    }
    let padded = format!("{digits:0>64}");
    let mut out = [0_u8; 32];
    for (slot, pair) in out.iter_mut().zip(padded.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| BadSignature::Malformed)?;
        *slot = u8::from_str_radix(pair, 16).map_err(|_| BadSignature::Malformed)?;
    }
    Ok(out)
}

/// The address whose key made `signature` over `digest`.
///
/// # Errors
/// The signature is malformed, or no key fits it.
pub fn recover(digest: &[u8; 32], signature: &WireSignature) -> Result<Addr, BadSignature> {
    let (r, s) = (word(&signature.r)?, word(&signature.s)?);
    let id = match signature.v {
        27 | 0 => 0_u8,
        28 | 1 => 1,
        _ => return Err(BadSignature::Malformed),
    };
    let id = RecoveryId::try_from(id).map_err(|_| BadSignature::Malformed)?;
    let signature = Signature::from_scalars(r, s).map_err(|_| BadSignature::Malformed)?;
    let key = VerifyingKey::recover_from_prehash(digest, &signature, id).map_err(|_| BadSignature::NoKey)?;
    Ok(address_of(&key))
}

/// The address of a public key: the last 20 bytes of the hash of its coordinates.
#[must_use]
pub fn address_of(key: &VerifyingKey) -> Addr {
    let point = key.to_sec1_point(false);
    let hash = keccak(&[point.as_bytes().get(1..).unwrap_or_default()]);
    let mut out = [0_u8; 20];
    out.copy_from_slice(&hash[12..]);
    Addr(out)
}
