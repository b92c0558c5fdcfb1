//! The document of this instant, to everybody who looks: the doors, the file, the api, the service manager.

use super::{DOCUMENT_EVERY, Driver, FILE_EVERY};
use crate::perform::publish::{self, Facts};
use crate::source::encode;
use bytes::Bytes;
use holdfast_core::ids::Role;
use holdfast_ipc::clock;
use holdfast_ipc::message::ToWorker;

impl Driver {
    pub(super) fn document(&mut self) -> holdfast_core::status::StatusDoc {
        let now = clock::now();
        let stuck = self.stuck(now);
        let facts = Facts {
            launch: &self.launch,
            pid: std::process::id(),
            started: self.started,
            started_wall_ms: self.started_wall_ms,
            api_url: self.urls.get(&Role::Api).map_or("", String::as_str),
            venue_url: self.venue_url().unwrap_or_default(),
            latches_on_disk: self.keeper.healthy(now),
            journal: self.journal.status(self.bus_told.as_ref(), self.keeper.healthy(now) && self.ledger_told),
            ledger_on_disk: self.ledger_told,
            disk: self.clerk.room(),
            taken_over: self.taken_over.as_deref(),
            stuck,
        };
        publish::document(&self.machine, &facts, now)
    }

    /// Writes the state down beside the bus, so that a reader need not begin with the first event.
    pub(super) fn snapshot(&mut self) {
        let doc = self.document();
        self.journal.snapshot(publish::snapshot(&doc));
    }

    /// Beats to every worker; the document with each second one, and at once when its first line changes: making and
    /// sending it is most of what a tick costs.
    pub(super) fn publish(&mut self) {
        let now = clock::now();
        let view = self.machine.view(now);
        let headline = (view.mode, view.reasons.to_vec(), view.job_state);
        self.beat_seq += 1;
        let beat = ToWorker::Beat { seq: self.beat_seq, sent: now, mode: view.mode };
        let told = self.headline.as_ref() == Some(&headline) && self.file_written.is_some();
        let document = !told || self.beat_seq.is_multiple_of(DOCUMENT_EVERY);
        let Some(beat) = encode(&beat) else { return };
        for role in Role::ALL.into_iter().filter(|role| !(document && *role == Role::Api)) {
            self.push(role, beat.clone());
        }
        if !document {
            return;
        }
        self.headline = Some(headline);
        let doc = self.document();
        self.notify_manager(&doc);
        let exposure = &doc.exposure;
        let sizes: Vec<_> = exposure.positions.iter().map(|p| (&p.coin, p.size)).collect();
        let essence = format!(
            "{} {:?} {} {} {} {sizes:?}",
            doc.trading_mode, doc.mode_reasons, doc.kill.state, exposure.known, exposure.open_orders
        );
        if let Ok(body) = serde_json::to_vec(&doc).map(Bytes::from) {
            let due = self.file_written.is_none_or(|at| now.since(at) >= FILE_EVERY);
            if due || essence != self.file_essence {
                self.clerk.publish(body.clone());
                self.file_written = Some(now);
                self.file_essence = essence;
            }
            *self.published.borrow_mut() = body;
        }
        // Together, so that the api wakes once for both.
        self.tell(Role::Api, &ToWorker::Status { doc: Box::new(doc) });
        self.push(Role::Api, beat);
    }

    /// Tells the service manager, if one asked to be told.
    pub(super) fn notify_manager(&mut self, doc: &holdfast_core::status::StatusDoc) {
        use sd_notify::NotifyState;
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return;
        }
        let words = format!("{} {}", doc.trading_mode, doc.mode_reasons.first().map_or("", |reason| reason.as_str()));
        let mut states = vec![NotifyState::Status(&words)];
        if sd_notify::watchdog_enabled().is_some() {
            states.push(NotifyState::Watchdog);
        }
        if !self.announced && self.machine.view(clock::now()).up {
            self.announced = true;
            states.push(NotifyState::Ready);
        }
        if let Err(error) = sd_notify::notify(&states) {
            tracing::debug!(%error, "the service manager does not listen");
        }
    }
}
