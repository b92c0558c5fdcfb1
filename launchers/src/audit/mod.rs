//! The record on the disk, examined, exported and mended: `engine audit`.
//!
//! Everything but the repair only reads, and works beside a running engine. The repair asks for a typed phrase that names
//! what is lost, and refuses while an engine runs.

mod export;
mod mirror;
pub(crate) mod place;
mod repair;
mod replay;
mod verify;

use crate::cli::AuditCommand;
use crate::error::Trouble;
use crate::out::Out;
use holdfast_ipc::bootstrap::Home;

pub(crate) fn run(out: Out, home: &Home, command: &AuditCommand) -> Result<u8, Trouble> {
    match command {
        AuditCommand::Verify(args) => verify::verify(out, home, args),
        AuditCommand::Export(args) => export::export(out, home, args),
        AuditCommand::Repair { accept_loss } => repair::repair(out, home, accept_loss.as_ref().map(Option::as_deref)),
        AuditCommand::Replay => replay::replay(out, home),
        AuditCommand::Mirror(args) => mirror::mirror(out, home, args),
        AuditCommand::Anchor => verify::anchor(out, home),
    }
}
