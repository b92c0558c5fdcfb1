//! Workers' connections: who is let in, and what happens to one that misbehaves.
//!
//! A peer is let in only if the kernel says it is the very process that was spawned (same uid, that pid), and it holds
//! that process's one-time token, speaks this protocol and is of this build. Anything unreadable ends the connection.

use super::{Input, QUEUE};
use bytes::Bytes;
use holdfast_core::ids::{Epoch, Generation, Role};
use holdfast_core::limits::{HELLO_DEADLINE, PEER_QUEUE_MAX, TICK};
use holdfast_ipc::IpcError;
use holdfast_ipc::bootstrap::{PROTOCOL, Token};
use holdfast_ipc::clock;
use holdfast_ipc::conn::{Conn, Reader, Writer};
use holdfast_ipc::listen::Door;
use holdfast_ipc::message::{FromWorker, Hello, ToWorker};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Names one connection for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerId(pub(crate) u32);

/// Connections that have not said hello yet.
const STRANGERS_MAX: usize = 16;
/// How long a closed connection waits for the exit that explains it.
const CLOSED_BEFORE_EXIT: Duration = Duration::from_millis(30);
/// Messages of one worker per tick before it counts as a flood.
const MESSAGES_PER_TICK_MAX: u32 = 200;

/// A process that was spawned and has not said hello yet.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) role: Role,
    pub(crate) pid: u32,
    pub(crate) generation: Generation,
    pub(crate) token: Token,
}

/// What the doorkeeper knows.
pub(crate) struct Roll {
    pub(crate) epoch: Epoch,
    pub(crate) build_id: String,
    expected: RefCell<Vec<Expected>>,
}

impl Roll {
    pub(crate) const fn new(epoch: Epoch, build_id: String) -> Self {
        Self { epoch, build_id, expected: RefCell::new(Vec::new()) }
    }

    /// One more process may say hello; an older one of the same role may not any more.
    pub(crate) fn expect(&self, expected: Expected) {
        let mut list = self.expected.borrow_mut();
        list.retain(|old| old.role != expected.role);
        list.push(expected);
    }

    /// Whether the process at the other end is one that was spawned and has not said hello yet. Where the kernel does
    /// not name it, the token decides alone.
    fn awaits(&self, pid: Option<u32>) -> bool {
        pid.is_none_or(|pid| self.expected.borrow().iter().any(|e| e.pid == pid))
    }

    /// Checks a hello and uses its token up.
    fn admit(&self, hello: &Hello, pid: Option<u32>) -> Result<Expected, String> {
        let mut list = self.expected.borrow_mut();
        let at = list
            .iter()
            .position(|e| e.token.matches(&hello.token) && pid.is_none_or(|pid| pid == e.pid))
            .ok_or_else(|| "no process with this pid and token is expected".to_owned())?;
        let expected = list.swap_remove(at);
        if expected.role != hello.role || expected.generation != hello.generation || self.epoch != hello.epoch {
            return Err(format!("{} is not who it was started as", expected.role));
        }
        if hello.build_id != self.build_id || hello.protocol != PROTOCOL {
            return Err(format!("{} is of build {}, this is {}", expected.role, hello.build_id, self.build_id));
        }
        Ok(expected)
    }
}

/// Serves the worker socket until the process ends.
pub(crate) fn listen(door: Door, roll: Rc<Roll>, inputs: mpsc::Sender<Input>) {
    let strangers = std::sync::Arc::new(tokio::sync::Semaphore::new(STRANGERS_MAX));
    tokio::task::spawn_local(async move {
        let mut last = 0_u32;
        loop {
            let Ok(stream) = door.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let Ok(conn) = Conn::<FromWorker, ToWorker>::over(stream) else { continue };
            if !roll.awaits(conn.peer().pid) {
                // It takes no place of a worker's, and its noise no line of the log.
                tracing::debug!(peer = ?conn.peer(), "a stranger on the worker socket");
                continue;
            }
            // Full all the same: drop this one, a real worker tries again at its restart.
            let Ok(place) = strangers.clone().try_acquire_owned() else { continue };
            last = last.wrapping_add(1);
            let (peer, roll, inputs) = (PeerId(last), roll.clone(), inputs.clone());
            tokio::task::spawn_local(async move {
                match greet(conn, &roll, peer, &inputs).await {
                    Ok((role, reader)) => {
                        drop(place);
                        let error = read(role, peer, reader, &inputs).await;
                        if !matches!(error, IpcError::Malformed(_)) {
                            // A dying process closes its sockets just before the kernel reports it dead; its exit
                            // says more than this.
                            tokio::time::sleep(CLOSED_BEFORE_EXIT).await;
                        }
                        let _ = inputs.send(Input::Lost { role, peer, detail: error.to_string() }).await;
                    }
                    Err(error) => tracing::warn!(%error, "a connection on the worker socket was refused"),
                }
            });
        }
    });
}

async fn greet(
    mut conn: Conn<FromWorker, ToWorker>,
    roll: &Roll,
    peer: PeerId,
    inputs: &mpsc::Sender<Input>,
) -> Result<(Role, Reader<FromWorker>), IpcError> {
    let deadline = Duration::from_nanos(HELLO_DEADLINE.0);
    let first = conn.reader.recv_within(deadline).await?;
    let FromWorker::Hello(hello) = first else {
        return Err(IpcError::Malformed(format!("expected a hello, got {}", kind_of(&first))));
    };
    let admitted = roll.admit(&hello, conn.peer().pid).map_err(IpcError::Stranger)?;
    conn.writer.send_within(&ToWorker::Welcome { epoch: roll.epoch }, deadline).await?;
    let (writer, queue) = mpsc::channel(PEER_QUEUE_MAX);
    tokio::task::spawn_local(write(conn.writer, queue));
    let greeted = Input::Greeted { role: admitted.role, peer, born: hello.born, writer };
    inputs.send(greeted).await.map_err(|_| IpcError::Closed)?;
    Ok((admitted.role, conn.reader))
}

/// Writes what is queued; the queue's owner drops a peer that lets it fill up.
async fn write(mut writer: Writer<ToWorker>, mut queue: mpsc::Receiver<Bytes>) {
    while let Some(body) = queue.recv().await {
        let sent = tokio::time::timeout(Duration::from_secs(2), writer.send_encoded(body)).await;
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

async fn read(role: Role, peer: PeerId, mut reader: Reader<FromWorker>, inputs: &mpsc::Sender<Input>) -> IpcError {
    let mut window = clock::now();
    let mut count = 0_u32;
    loop {
        let message = match reader.recv().await {
            Ok(message) => message,
            Err(error) => return error,
        };
        let now = clock::now();
        if now.since(window) > TICK {
            (window, count) = (now, 0);
        }
        count += 1;
        if count > MESSAGES_PER_TICK_MAX {
            return IpcError::Malformed(format!("more than {MESSAGES_PER_TICK_MAX} messages in one tick"));
        }
        if !may_say(role, &message) {
            return IpcError::Malformed(format!("a {role} may not say {}", kind_of(&message)));
        }
        if inputs.send(Input::Said { role, peer, message: Box::new(message) }).await.is_err() {
            return IpcError::Closed;
        }
    }
}

/// Which role may say what. Everything else is a fault of the speaker.
const fn may_say(role: Role, message: &FromWorker) -> bool {
    match message {
        FromWorker::Hello(_) => false,
        FromWorker::Beat { .. } | FromWorker::Ready { .. } => true,
        FromWorker::Market(_) | FromWorker::AccountUnknown { .. } => matches!(role, Role::Sensor),
        FromWorker::Account(_) => matches!(role, Role::Sensor | Role::Deadman),
        FromWorker::Trip(_) => matches!(role, Role::Sensor | Role::Engine),
        FromWorker::Reconciled(_)
        | FromWorker::Journal(_)
        | FromWorker::LimitHit { .. }
        | FromWorker::Standing(_)
        | FromWorker::Record(_) => matches!(role, Role::Engine),
        FromWorker::Baseline(_) => matches!(role, Role::Engine),
        FromWorker::Job(_) | FromWorker::DeadMan(_) | FromWorker::Duty(_) | FromWorker::Unrecorded(_) => {
            matches!(role, Role::Deadman)
        }
        FromWorker::EmergencyReduceOnly {} => matches!(role, Role::Api),
    }
}

const fn kind_of(message: &FromWorker) -> &'static str {
    match message {
        FromWorker::Hello(_) => "hello",
        FromWorker::Beat { .. } => "beat",
        FromWorker::Ready { .. } => "ready",
        FromWorker::Market(_) => "market",
        FromWorker::Account(_) => "account",
        FromWorker::AccountUnknown { .. } => "account_unknown",
        FromWorker::Trip(_) => "trip",
        FromWorker::Reconciled(_) => "reconciled",
        FromWorker::Journal(_) => "journal",
        FromWorker::LimitHit { .. } => "limit_hit",
        FromWorker::Standing(_) => "standing",
        FromWorker::Record(_) => "record",
        FromWorker::Baseline(_) => "baseline",
        FromWorker::Job(_) => "job",
        FromWorker::DeadMan(_) => "dead_man",
        FromWorker::Duty(_) => "duty",
        FromWorker::Unrecorded(_) => "unrecorded",
        FromWorker::EmergencyReduceOnly {} => "emergency_reduce_only",
    }
}

const _: () = assert!(QUEUE > 4 * MESSAGES_PER_TICK_MAX as usize, "one flooding worker cannot fill the driver's queue");

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::time::Tick;
    use holdfast_core::trade::{CycleHealth, Trade};

    const PID: u32 = 4711;

    fn roll() -> Roll {
        let roll = Roll::new(Epoch(3), "build".to_owned());
        let generation = Generation(2);
        roll.expect(Expected { role: Role::Sensor, pid: PID, generation, token: Token::new([1; 32]) });
        roll
    }

    fn hello() -> Hello {
        Hello {
            role: Role::Sensor,
            generation: Generation(2),
            epoch: Epoch(3),
            build_id: "build".to_owned(),
            protocol: PROTOCOL,
            token: Token::new([1; 32]),
            born: Tick(1),
        }
    }

    #[test]
    fn the_spawned_process_is_admitted_once() {
        let roll = roll();
        assert!(roll.awaits(Some(PID)) && !roll.awaits(Some(PID + 1)));
        assert!(roll.admit(&hello(), Some(PID)).is_ok());
        assert!(!roll.awaits(Some(PID)));
        assert!(roll.admit(&hello(), Some(PID)).is_err(), "the token is used up");
    }

    #[test]
    fn a_hello_that_differs_in_anything_is_refused() {
        let stolen = roll().admit(&hello(), Some(PID + 1));
        assert!(stolen.is_err(), "the right token in another process");
        type Spoil = fn(&mut Hello);
        let cases: [(&str, Spoil); 6] = [
            ("token", |h| h.token = Token::new([2; 32])),
            ("role", |h| h.role = Role::Engine),
            ("generation", |h| h.generation = Generation(1)),
            ("epoch", |h| h.epoch = Epoch(2)),
            ("build", |h| h.build_id = "other".to_owned()),
            ("protocol", |h| h.protocol = PROTOCOL + 1),
        ];
        for (what, spoil) in cases {
            let mut hello = hello();
            spoil(&mut hello);
            assert!(roll().admit(&hello, Some(PID)).is_err(), "{what}");
        }
    }

    #[test]
    fn a_newer_process_of_a_role_replaces_the_older() {
        let roll = roll();
        let generation = Generation(3);
        roll.expect(Expected { role: Role::Sensor, pid: PID + 1, generation, token: Token::new([9; 32]) });
        assert!(roll.admit(&hello(), Some(PID)).is_err());
    }

    #[test]
    fn every_role_says_only_what_is_its_own() {
        let said = |text: &str| serde_json::from_str::<FromWorker>(text).unwrap();
        let trip = r#"{"trip":{"reason":"WS_BOOK_GAP_RECONCILE_REQUIRED","detail":""}}"#;
        let all = [Role::Venue, Role::Deadman, Role::Sensor, Role::Api, Role::Engine];
        let health =
            serde_json::to_string(&FromWorker::Record(Box::new(Trade::Health(CycleHealth::default())))).unwrap();
        let cases: [(&str, &[Role]); 13] = [
            (&health, &[Role::Engine]),
            (r#"{"beat":{"seq":1,"progress":1,"sent":1}}"#, &all),
            (r#"{"ready":{"endpoint":null}}"#, &all),
            (r#"{"market":{"state":"fresh","last_good":1,"skew_ms":0}}"#, &[Role::Sensor]),
            (r#"{"account_unknown":{"detail":""}}"#, &[Role::Sensor]),
            (trip, &[Role::Sensor, Role::Engine]),
            (r#"{"reconciled":{"asked":1,"clean":true,"detail":""}}"#, &[Role::Engine]),
            (r#"{"journal":{"healthy":true,"entries":1,"unsettled":0,"head":null}}"#, &[Role::Engine]),
            (r#"{"limit_hit":{"detail":""}}"#, &[Role::Engine]),
            (r#"{"standing":{"cause":"capital","detail":""}}"#, &[Role::Engine]),
            (r#"{"dead_man":{"state":"ACTIVE","fires_at_ms":null,"detail":""}}"#, &[Role::Deadman]),
            (r#"{"duty":{"job":"flatten","kill":null,"paused_since_wall_ms":1}}"#, &[Role::Deadman]),
            (r#"{"emergency_reduce_only":{}}"#, &[Role::Api]),
        ];
        for (text, may) in cases {
            for role in all {
                assert_eq!(may_say(role, &said(text)), may.contains(&role), "{role}: {text}");
            }
        }
        assert!(all.iter().all(|role| !may_say(*role, &FromWorker::Hello(hello()))));
    }
}
