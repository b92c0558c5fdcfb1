//! The record on the disk, examined: `engine audit`. It only reads, and works beside a running engine.

mod replay;

use crate::cli::AuditCommand;
use crate::error::Trouble;
use crate::out::Out;
use holdfast_ipc::bootstrap::Home;

pub(crate) fn run(out: Out, home: &Home, command: &AuditCommand) -> Result<u8, Trouble> {
    match command {
        AuditCommand::Replay => replay::replay(out, home),
    }
}
