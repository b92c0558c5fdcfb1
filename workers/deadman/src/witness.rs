//! How far the runtime bus went when the supervisor told last, in `data/witness.cell`: a bus that is put back to an older
//! state, whole and with its key, lacks it.
//!
//! * It only grows: another bus, or one that is shorter, is not believed. Only a repair begins it anew.
//! * It is written on a thread of its own, as often as it is told: every few seconds. Nothing waits for it.

use holdfast_core::report::BusHead;
use holdfast_core::time::Tick;
use holdfast_ipc::bootstrap::Home;
use holdfast_store::{Cell, CellError, Keeper};

/// See the module.
#[derive(Debug)]
pub(crate) struct Witness {
    seen: Option<BusHead>,
    keeper: Option<Keeper<BusHead>>,
}

impl Witness {
    /// Goes on with what the process before saw. Without a usable file nothing is kept.
    pub(crate) fn open(home: &Home) -> Self {
        let path = home.witness();
        let kept = Cell::<BusHead>::open(&path).and_then(|(cell, seen)| {
            let start = |source| CellError::Io { path: path.clone(), what: "start the writer of it", source };
            Ok((Keeper::start("hf-witness", cell).map_err(start)?, seen))
        });
        match kept {
            Ok((keeper, seen)) => Self { seen, keeper: Some(keeper) },
            Err(error) => {
                tracing::error!(%error, "the head of the runtime bus cannot be kept");
                Self { seen: None, keeper: None }
            }
        }
    }

    /// The supervisor told how far its bus goes.
    pub(crate) fn saw(&mut self, now: Tick, head: BusHead) {
        if let Some(seen) = &self.seen {
            if seen.bus_id != head.bus_id || head.events < seen.events {
                tracing::error!(?seen, told = ?head, "the runtime bus is not the one that was seen: not believed");
                return;
            }
            if *seen == head {
                return;
            }
        }
        self.seen = Some(head.clone());
        if let Some(keeper) = &mut self.keeper {
            keeper.store(now, head);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn head(bus: &str, events: u64) -> BusHead {
        BusHead { bus_id: bus.to_owned(), events, checksum: format!("sha256:{events}") }
    }

    #[tokio::test]
    async fn what_was_seen_only_grows_also_over_processes() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().to_path_buf());
        std::fs::create_dir(home.data()).unwrap();
        // What each process is told, and what is on the disk when it has ended.
        let lives: [(&[BusHead], BusHead); 3] = [
            (&[head("a", 5), head("a", 9), head("a", 7)], head("a", 9)),
            (&[head("b", 20), head("a", 8)], head("a", 9)),
            (&[head("a", 12)], head("a", 12)),
        ];
        for (told, kept) in lives {
            let mut witness = Witness::open(&home);
            for head in told {
                witness.saw(Tick(1), head.clone());
            }
            assert!(witness.keeper.expect("a file").finish(Duration::from_secs(10)).await.ok);
            assert_eq!(Cell::<BusHead>::peek(&home.witness()).unwrap(), Some(kept));
        }
    }
}
