//! What every worker does, once: birth, hello, beats with progress, logs, drain, and exit when the supervisor is gone.
//!
//! * A worker that is not who its bootstrap says (build, protocol, role) does nothing and exits.
//! * Beats come from the same single thread that does the work, so a blocked worker is a silent one.
//! * Every worker but deadman (and the paper venue, which waits for deadman) ends with its supervisor: at end of file on the control connection, and by the
//!   parent-death signal as a backstop.
//! * A panic writes one line and aborts.

mod birth;
mod ctx;
pub mod logs;
mod orphan;

pub use birth::{BirthError, Exit, run};
pub use ctx::{Ctx, Link, Order};
