//! Signing an action: MessagePack, action hash, EIP-712 struct hash, secp256k1. Pure; sends nothing.
//!
//! Byte-exact with the vectors in `fixtures/venue/hyperliquid-signing.json`; a mistake here does not give a "bad
//! signature" at the venue but another signer's address.

mod key;

pub use key::{AgentKey, KeyError};

use crate::wire::{Address, Network, hex_encode};
use serde::{Serialize, Serializer};
use sha3::{Digest, Keccak256};

/// keccak256 of the encoded domain: name "Exchange", version "1", chain 1337, zero contract. One for both networks.
const DOMAIN: [u8; 32] = [
    0xd7, 0x92, 0x97, 0xfc, 0xdf, 0x2f, 0xfc, 0xd4, 0xae, 0x22, 0x3d, 0x01, 0xed, 0xaa, 0x2b, 0xa2, 0x14, 0xff, 0x8f,
    0x40, 0x1d, 0x7c, 0x93, 0x00, 0xd9, 0x95, 0xd1, 0x7c, 0x82, 0xaa, 0x40, 0x40,
];
const AGENT_TYPE: &[u8] = b"Agent(string source,bytes32 connectionId)";

/// Why an action could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The action has no MessagePack or JSON form.
    #[error("action cannot be encoded: {0}")]
    Encode(String),
    /// The curve refused; does not happen for a valid key.
    #[error("signature could not be made")]
    Curve,
}

/// What is hashed besides the action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Network the signature is for.
    pub network: Network,
    /// Millisecond nonce, unique per signer.
    pub nonce: u64,
    /// Sub-account or vault traded for.
    pub vault: Option<Address>,
    /// Venue time in ms after which the venue refuses the action.
    pub expires_after: Option<u64>,
}

/// An ECDSA signature with its recovery value. `r` and `s` are sent padded to 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// `r`, big-endian.
    pub r: [u8; 32],
    /// `s`, big-endian, in the lower half.
    pub s: [u8; 32],
    /// 27 or 28.
    pub v: u8,
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire {
            r: String,
            s: String,
            v: u8,
        }
        Wire { r: hex32(&self.r), s: hex32(&self.s), v: self.v }.serialize(serializer)
    }
}

/// `0x` and 64 digits.
pub(crate) fn hex32(bytes: &[u8; 32]) -> String {
    format!("0x{}", hex_encode(bytes))
}

/// The action in MessagePack: maps in key order, smallest integers.
///
/// # Errors
/// [`SignError::Encode`].
pub fn message_pack<A: Serialize>(action: &A) -> Result<Vec<u8>, SignError> {
    rmp_serde::to_vec_named(action).map_err(|e| SignError::Encode(e.to_string()))
}

/// The connection id ("action hash"): keccak256 of the packed action, nonce, vault and expiry.
#[must_use]
pub fn action_hash(packed: &[u8], context: &Context) -> [u8; 32] {
    let mut hash = Keccak256::new();
    hash.update(packed);
    hash.update(context.nonce.to_be_bytes());
    match &context.vault {
        None => hash.update([0]),
        Some(vault) => {
            hash.update([1]);
            hash.update(vault.bytes());
        }
    }
    if let Some(expires) = context.expires_after {
        hash.update([0]);
        hash.update(expires.to_be_bytes());
    }
    hash.finalize().into()
}

/// The EIP-712 digest that is signed.
#[must_use]
pub fn digest(network: Network, connection_id: &[u8; 32]) -> [u8; 32] {
    let mut inner = Keccak256::new();
    inner.update(Keccak256::digest(AGENT_TYPE));
    inner.update(Keccak256::digest(network.source().as_bytes()));
    inner.update(connection_id);
    let mut outer = Keccak256::new();
    outer.update([0x19, 0x01]);
    outer.update(DOMAIN);
    outer.update(inner.finalize());
    outer.finalize().into()
}

/// Signs an action.
///
/// # Errors
/// [`SignError`].
pub fn sign<A: Serialize>(key: &AgentKey, action: &A, context: &Context) -> Result<Signature, SignError> {
    let packed = message_pack(action)?;
    key.sign_digest(&digest(context.network, &action_hash(&packed, context)))
}

/// Signs an action and writes the request body the venue takes: all five keys, JSON.
///
/// # Errors
/// [`SignError`].
pub fn signed_body<A: Serialize>(key: &AgentKey, action: &A, context: &Context) -> Result<Vec<u8>, SignError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a, A> {
        action: &'a A,
        nonce: u64,
        signature: Signature,
        vault_address: Option<Address>,
        expires_after: Option<u64>,
    }
    let signature = sign(key, action, context)?;
    let body = Body {
        action,
        nonce: context.nonce,
        signature,
        vault_address: context.vault,
        expires_after: context.expires_after,
    };
    serde_json::to_vec(&body).map_err(|e| SignError::Encode(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_what_the_type_strings_hash_to() {
        let domain_type = Keccak256::digest(
            b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)".as_slice(),
        );
        let mut chain = [0_u8; 32];
        chain[30..].copy_from_slice(&1337_u16.to_be_bytes());
        let mut hash = Keccak256::new();
        hash.update(domain_type);
        hash.update(Keccak256::digest(b"Exchange"));
        hash.update(Keccak256::digest(b"1"));
        hash.update(chain);
        hash.update([0; 32]);
        assert_eq!(<[u8; 32]>::from(hash.finalize()), DOMAIN);
        assert_eq!(
            hex_encode(&Keccak256::digest(AGENT_TYPE)),
            "26f05c2f7239b6983075e58321292d77b3aa173d19b27257ac96ab362570f508"
        );
    }
}
