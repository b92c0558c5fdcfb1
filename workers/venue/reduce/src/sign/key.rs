//! The agent key: loaded only from a private file, wiped on drop, never printed.

use super::{SignError, Signature};
use crate::wire::{Address, hex_decode, hex_encode};
use k256::ecdsa::SigningKey;
use nix::fcntl::OFlag;
use secrecy::SecretString;
use sha3::{Digest, Keccak256};
use std::fmt;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// Longest key file: `0x`, 64 digits, a line end.
const FILE_BYTES_MAX: usize = 68;

/// Why there is no key. No variant carries any of its bytes.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file could not be opened, read or written.
    #[error("key file cannot be used: {0}")]
    Io(#[from] std::io::Error),
    /// Not a regular file.
    #[error("key file is not a regular file")]
    NotAFile,
    /// Others than its owner could read or change it.
    #[error("key file has mode {0:o}; it must be 600")]
    Mode(u32),
    /// It belongs to another user.
    #[error("key file belongs to user {0}, not to the one running this")]
    Owner(u32),
    /// Not 64 hexadecimal digits, or not a valid secret of the curve.
    #[error("key file does not hold a key: 64 hexadecimal digits, optionally after 0x")]
    Content,
    /// The system gave no random bytes.
    #[error("no random bytes from the system")]
    Random,
}

/// A secret key of an agent (API wallet) and its address. Not `Clone`; `Debug` prints the address only.
pub struct AgentKey {
    key: SigningKey,
    address: Address,
}

impl fmt::Debug for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgentKey({})", self.address)
    }
}

impl AgentKey {
    /// Reads a key file: a regular file of this user with mode 0600 holding 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`KeyError`] says which of these does not hold; a symbolic link is refused.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).bits())
            .open(path)?;
        // The open file is examined, not the path, so that it cannot be exchanged in between.
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(KeyError::NotAFile);
        }
        if meta.uid() != nix::unistd::geteuid().as_raw() {
            return Err(KeyError::Owner(meta.uid()));
        }
        if meta.mode() & 0o7777 != 0o600 {
            return Err(KeyError::Mode(meta.mode() & 0o7777));
        }
        let mut buffer = Zeroizing::new([0_u8; FILE_BYTES_MAX + 1]);
        let mut length = 0;
        while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
            match file.read(rest)? {
                0 => break,
                n => length = length.saturating_add(n),
            }
        }
        let text = buffer.get(..length).filter(|_| length <= FILE_BYTES_MAX).ok_or(KeyError::Content)?;
        Self::from_hex(text.trim_ascii())
    }

    /// Takes 64 hexadecimal digits, optionally after `0x`.
    ///
    /// # Errors
    /// [`KeyError::Content`].
    pub fn from_hex(text: &[u8]) -> Result<Self, KeyError> {
        let digits = text.strip_prefix(b"0x").unwrap_or(text);
        let bytes = Zeroizing::new(hex_decode::<32>(digits).ok_or(KeyError::Content)?);
        Self::from_bytes(&bytes)
    }

    /// A fresh random key. Writes nothing.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate() -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        // A random string that is no key has probability 2^-128; a second one is a broken source.
        for _ in 0..2 {
            getrandom::fill(bytes.as_mut_slice()).map_err(|_| KeyError::Random)?;
            if let Ok(key) = Self::from_bytes(&bytes) {
                return Ok(key);
            }
        }
        Err(KeyError::Random)
    }

    /// Writes the key to a new file with mode 0600. An existing file is never replaced.
    ///
    /// # Errors
    /// [`KeyError::Io`].
    pub fn save_new(&self, path: &Path) -> Result<(), KeyError> {
        let bytes = Zeroizing::new(<[u8; 32]>::from(self.key.to_bytes()));
        let mut text = Zeroizing::new(hex_encode(bytes.as_slice()));
        text.push('\n');
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        Ok(())
    }

    /// The key as text, for a caller that must hand it over another way. Wiped on drop, not printable.
    #[must_use]
    pub fn secret_hex(&self) -> SecretString {
        let bytes = Zeroizing::new(<[u8; 32]>::from(self.key.to_bytes()));
        SecretString::from(hex_encode(bytes.as_slice()))
    }

    /// The address the venue recovers from this key's signatures.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Signs a 32-byte digest: deterministic k, low s, `v` 27 or 28.
    ///
    /// # Errors
    /// [`SignError::Curve`]; not for a valid key.
    pub fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature, SignError> {
        let (signature, recovery) = self.key.sign_prehash_recoverable(digest);
        let (r, s) = signature.split_bytes();
        let v = if recovery.is_y_odd() { 28 } else { 27 };
        if recovery.is_x_reduced() {
            return Err(SignError::Curve);
        }
        Ok(Signature { r: r.into(), s: s.into(), v })
    }

    fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let key = SigningKey::from_slice(bytes).map_err(|_| KeyError::Content)?;
        let point = key.verifying_key().to_sec1_point(false);
        let hash: [u8; 32] = Keccak256::digest(point.as_bytes().get(1..).ok_or(KeyError::Content)?).into();
        let mut address = [0; 20];
        address.copy_from_slice(&hash[12..]);
        Ok(Self { key, address: Address::new(address) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const HEX: &str = "0123456789012345678901234567890123456789012345678901234567890123";

    #[test]
    fn only_a_private_file_of_ours_is_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.key");
        for (content, mode, loads) in [
            (HEX.to_owned(), 0o600, true),
            (format!("0x{HEX}\n"), 0o600, true),
            (HEX.to_owned(), 0o640, false),
            (HEX.to_owned(), 0o700, false),
            (HEX.to_owned(), 0o604, false),
            (HEX[1..].to_owned(), 0o600, false),
            (format!("{HEX}{HEX}"), 0o600, false),
            ("0".repeat(64), 0o600, false),
            ("f".repeat(64), 0o600, false),
            ("zz".repeat(32), 0o600, false),
            (String::new(), 0o600, false),
        ] {
            fs::write(&path, &content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let key = AgentKey::load(&path);
            assert_eq!(key.is_ok(), loads, "{content:?} {mode:o}");
            if let Err(error) = key {
                assert!(content.len() < 8 || !error.to_string().contains(&content), "no secret in the error");
            }
        }
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(AgentKey::load(&link).is_err());
        assert!(AgentKey::load(dir.path()).is_err());
    }

    #[test]
    fn a_saved_key_comes_back_is_private_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new.key");
        let key = AgentKey::generate().unwrap();
        key.save_new(&path).unwrap();
        assert_eq!(AgentKey::load(&path).unwrap().address(), key.address());
        assert!(AgentKey::generate().unwrap().save_new(&path).is_err());
        assert_eq!(format!("{key:?}"), format!("AgentKey({})", key.address()));
    }
}
