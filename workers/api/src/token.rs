//! The bearer token of the API's controls: new at every start, readable by the owner alone.

use holdfast_ipc::bootstrap::Token;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Draws a token and writes it to `path`, mode 0600 from the first instant.
///
/// # Errors
/// The kernel's reason.
pub(crate) fn create(path: &Path) -> io::Result<Token> {
    let mut random = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let token = Token::new(random);
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    // A token prints nothing of itself; its wire form is a JSON string.
    let text = serde_json::to_value(&token)?;
    writeln!(file, "{}", text.as_str().unwrap_or_default())?;
    Ok(token)
}
