//! How actions are carried out: spawning, persisting, publishing, answering.

pub(crate) mod aside;
pub(crate) mod clerk;
pub(crate) mod cycle;
pub(crate) mod journal;
pub(crate) mod ledger;
pub(crate) mod notary;
pub(crate) mod publish;
pub(crate) mod replies;
pub(crate) mod spawn;
