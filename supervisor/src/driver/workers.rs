//! Workers' processes and connections: made, spoken to, ended; never waited for.

use super::{Driver, STUCK_AFTER};
use crate::error::SupervisorError;
use crate::os;
use crate::perform::spawn;
use crate::source::{self, Input, encode};
use bytes::Bytes;
use holdfast_core::event::Event;
use holdfast_core::ids::{Generation, Role};
use holdfast_core::machine::WorkerView;
use holdfast_core::permit::PermitKey;
use holdfast_core::time::Tick;
use holdfast_core::worker::State;
use holdfast_ipc::bootstrap::{Bootstrap, PROTOCOL, PermitHandover, Token};
use holdfast_ipc::clock;
use holdfast_ipc::message::ToWorker;
use std::collections::BTreeMap;

impl Driver {
    pub(super) fn spawn(&mut self, role: Role, generation: Generation) -> Event {
        match self.try_spawn(role, generation) {
            Ok(pid) => Event::Spawned { role, pid },
            Err(error) => {
                tracing::error!(%error, %role, "a worker could not be started");
                let note = format!("could not be started: {error}");
                Event::Exited { role, note, wall_ms: clock::wall_ms(), chance: u16::MAX / 2 }
            }
        }
    }

    pub(super) fn try_spawn(&mut self, role: Role, generation: Generation) -> Result<u32, SupervisorError> {
        let home = &self.launch.home;
        let mut permit = None;
        let mut handover = None;
        if role == Role::Engine {
            // A key per generation: a former engine's copy of it verifies nothing any more.
            self.permit_key = PermitKey::new(os::random()?);
            permit = Some(self.permit.reader().map_err(SupervisorError::io("hand over the permit in", home.run()))?);
            handover = Some(PermitHandover { fd: -1, key: self.permit_key.clone() });
        }
        let boot = Bootstrap {
            role,
            generation,
            epoch: self.epoch,
            build_id: self.launch.build_id.clone(),
            protocol: PROTOCOL,
            token: Token::new(os::random()?),
            feed_token: self.feed_token.clone(),
            supervisor_pid: std::process::id(),
            socket: home.worker_sock(),
            home: home.root().to_owned(),
            settings: self.launch.settings.clone(),
            venue_url: self.venue_url().filter(|_| role != Role::Venue && role != Role::Api),
            venue_port: self.port_of(Role::Venue).filter(|_| role == Role::Venue),
            api_port: self.port_of(Role::Api).filter(|_| role == Role::Api),
            account: self.launch.account.clone(),
            permit: handover,
        };
        let made = spawn::spawn(home, &self.aside, boot, permit)?;
        let words = spawn::words_path(home, role);
        let pid = made.process.pid;
        self.processes.insert(role, made.process);
        self.roll.expect(made.expected);
        source::children::watch(role, made.child, pid, (words, self.aside.clone()), self.inputs.clone());
        tracing::info!(%role, pid, generation = generation.0, spawned_boot_ns = clock::now().0, "spawned");
        Ok(pid)
    }

    pub(super) fn venue_url(&self) -> Option<String> {
        let live = self.launch.settings.live.as_ref().map(|live| live.base_url.clone());
        self.urls.get(&Role::Venue).cloned().or(live)
    }

    /// The port a role listened on before: its replacement takes the same one, so that nobody has to be told.
    pub(super) fn port_of(&self, role: Role) -> Option<u16> {
        self.urls.get(&role)?.rsplit(':').next()?.parse().ok()
    }

    pub(super) fn kill(&self, role: Role) {
        let Some(process) = self.processes.get(&role) else { return };
        let killed = process.kill();
        tracing::warn!(%role, pid = process.pid, ?killed, "SIGKILL");
    }

    pub(super) fn tell(&mut self, role: Role, message: &ToWorker) {
        if let Some(body) = encode(message) {
            self.push(role, body);
        }
    }

    /// A worker that lets its queue fill up, or whose connection takes nothing any more, has lost what we say: it is
    /// dropped, never waited for, and replaced.
    pub(super) fn push(&mut self, role: Role, body: Bytes) {
        let Some(peer) = self.peers.get(&role) else { return };
        if peer.writer.try_send(body).is_ok() {
            return;
        }
        let detail = "it does not read what it is told".to_owned();
        if self.inputs.try_send(Input::Lost { role, peer: peer.id, detail }).is_err() {
            // Unheard it falls silent, which is found out as well, only later.
            self.peers.remove(&role);
        }
    }

    /// Workers that were killed and are not gone, with words for people.
    pub(super) fn stuck(&mut self, now: Tick) -> BTreeMap<Role, String> {
        let ending = |worker: &WorkerView<'_>| matches!(worker.state, State::Ending { .. });
        let long = |worker: &WorkerView<'_>| now.since(worker.since) >= STUCK_AFTER;
        let workers = self.machine.workers(now).filter(|worker| ending(worker) && long(worker));
        let stuck: BTreeMap<_, _> =
            workers.filter_map(|w| Some((w.role, os::process::stuck(w.role, w.state.pid()?)))).collect();
        for (role, words) in &stuck {
            if self.stuck.insert(*role) {
                tracing::error!(%role, "{words}");
            }
        }
        self.stuck.retain(|role| stuck.contains_key(role));
        stuck
    }
}
