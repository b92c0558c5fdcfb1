//! The operating system in one corner: process identity, pidfds, descriptors handed to children, files, random bytes.

pub(crate) mod files;
pub(crate) mod handover;
pub(crate) mod process;
pub(crate) mod ticker;

use crate::error::SupervisorError;

/// Fresh random bytes.
pub(crate) fn random() -> Result<[u8; 32], SupervisorError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| SupervisorError::Random(e.to_string()))?;
    Ok(bytes)
}
