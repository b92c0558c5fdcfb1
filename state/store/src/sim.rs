//! A disk that forgets and lies: the model under which the log must lose nothing that it acknowledged.
//!
//! Written sectors of 512 bytes reach the disk one by one, in any subset, until a sync; so do lengths. Names reach it in
//! order. A sync may fail, and then what it should have saved is gone although it can still be read until the cache is
//! dropped.

use crate::disk::{Access, Folder, Storage};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

/// What happens instead of the call with this number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// A full disk.
    NoSpace,
    /// A broken one.
    Io,
    /// Half of it is written, then the disk is full.
    Short,
    /// The sync fails, drops what it had, and the next one succeeds.
    Lie,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Size(usize),
}

#[derive(Clone, Debug, Default)]
struct Node {
    seen: Vec<u8>,
    kept: Vec<u8>,
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Naming {
    Put(String, u64),
    Move(String, String),
    Take(String),
}

/// The state of the disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    nodes: BTreeMap<u64, Node>,
    names: BTreeMap<String, u64>,
    kept_names: BTreeMap<String, u64>,
    namings: Vec<Naming>,
    next: u64,
    /// Calls that change something, so far.
    pub(crate) calls: u64,
    pub(crate) faults: BTreeMap<u64, Fault>,
    /// Bytes there is room for.
    pub(crate) room: Option<usize>,
    /// Most bytes one write takes.
    pub(crate) slice: Option<usize>,
    pub(crate) read_only: bool,
    /// No room for a name that is not there.
    pub(crate) no_names: bool,
    pub(crate) locked_by_another: bool,
    /// What was acknowledged when the history was taken.
    pub(crate) acknowledged: u64,
    /// The worlds before each call, while somebody wants them.
    pub(crate) history: Option<Vec<World>>,
}

/// Chance with a seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

impl World {
    fn call(&mut self) -> io::Result<Option<Fault>> {
        if let Some(mut history) = self.history.take() {
            history.push(self.clone());
            self.history = Some(history);
        }
        self.calls += 1;
        if self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        match self.faults.get(&self.calls) {
            Some(Fault::NoSpace) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Io) => Err(io::Error::other("device error")),
            fault => Ok(fault.copied()),
        }
    }

    fn used(&self) -> usize {
        let live: BTreeSet<u64> = self.names.values().copied().collect();
        live.iter().filter_map(|id| self.nodes.get(id)).map(|node| node.seen.len()).sum()
    }

    /// With its history kept from now on.
    pub(crate) fn watched(self) -> Self {
        Self { history: Some(Vec::new()), ..self }
    }

    /// The disk after the power was cut.
    pub(crate) fn cut(&self, dice: &mut Dice) -> Self {
        let mut after = Self { next: self.next, ..Self::default() };
        after.kept_names = self.kept_names.clone();
        let names = dice.roll(self.namings.len() as u64 + 1);
        for naming in self.namings.iter().take(usize::try_from(names).unwrap()) {
            name(&mut after.kept_names, naming);
        }
        after.names = after.kept_names.clone();
        // Some cuts keep nearly all, some nearly nothing.
        let odds = [0, 1, 5, 9, 10][usize::try_from(dice.roll(5)).unwrap()];
        for (id, node) in &self.nodes {
            let mut kept = node.kept.clone();
            for change in &node.changes {
                match change {
                    Change::Write(at, bytes) => write_some(&mut kept, *at, bytes, odds, dice),
                    Change::Size(size) if dice.roll(2) == 0 || odds == 10 => kept.resize(*size, 0),
                    Change::Size(_) => {}
                }
            }
            after.nodes.insert(*id, Node { seen: kept.clone(), kept, changes: Vec::new() });
        }
        after
    }

    /// The disk after the process was killed: everything it wrote is there.
    pub(crate) fn killed(&self) -> Self {
        Self { history: None, faults: BTreeMap::new(), ..self.clone() }
    }
}

fn write_some(kept: &mut Vec<u8>, at: usize, bytes: &[u8], odds: u64, dice: &mut Dice) {
    let end = at + bytes.len();
    if odds == 10 || dice.roll(3) == 0 {
        kept.resize(kept.len().max(end), 0);
    }
    let mut from = at;
    while from < end {
        let until = end.min((from / 512 + 1) * 512);
        if dice.roll(10) < odds {
            kept.resize(kept.len().max(until), 0);
            kept[from..until].copy_from_slice(&bytes[from - at..until - at]);
        }
        from = until;
    }
}

fn name(names: &mut BTreeMap<String, u64>, naming: &Naming) {
    match naming {
        Naming::Put(name, id) => {
            names.insert(name.clone(), *id);
        }
        Naming::Move(from, to) => {
            if let Some(id) = names.remove(from) {
                names.insert(to.clone(), id);
            }
        }
        Naming::Take(name) => {
            names.remove(name);
        }
    }
}

/// The folder on that disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sim(pub(crate) Arc<Mutex<World>>);

impl Sim {
    pub(crate) fn of(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// A file as it is seen now.
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let world = self.world();
        world.names.get(name).map(|id| world.nodes[id].seen.clone()).unwrap_or_default()
    }

    /// Somebody edits a file.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        let mut world = self.world();
        let id = world.names.get(name).copied().unwrap_or_else(|| {
            world.next += 1;
            world.next
        });
        world.names.insert(name.to_owned(), id);
        world.kept_names.insert(name.to_owned(), id);
        world.nodes.insert(id, Node { seen: bytes.to_vec(), kept: bytes.to_vec(), changes: Vec::new() });
    }

    pub(crate) fn take(&self, name: &str) {
        let mut world = self.world();
        world.names.remove(name);
        world.kept_names.remove(name);
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.world().names.keys().cloned().collect()
    }

    /// A disk of its own with the same content.
    pub(crate) fn copy(&self) -> Self {
        Self::of(self.world().killed())
    }
}

/// A file on that disk.
#[derive(Debug)]
pub(crate) struct SimFile(Arc<Mutex<World>>, u64);

impl SimFile {
    fn node<T>(&self, look: impl FnOnce(&mut Node) -> T) -> T {
        look(self.0.lock().unwrap().nodes.entry(self.1).or_default())
    }
}

impl Storage for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.node(|node| node.seen.len() as u64))
    }
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        self.node(|node| {
            let from = node.seen.get(usize::try_from(at).unwrap()..).unwrap_or_default();
            let n = from.len().min(into.len());
            into[..n].copy_from_slice(&from[..n]);
            Ok(n)
        })
    }
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<usize> {
        let at = usize::try_from(at).unwrap();
        let fault = self.0.lock().unwrap().call()?;
        let mut take = if matches!(fault, Some(Fault::Short)) { bytes.len() / 2 } else { bytes.len() };
        let mut world = self.0.lock().unwrap();
        take = take.min(world.slice.unwrap_or(usize::MAX));
        if matches!(fault, Some(Fault::Short)) {
            let next = world.calls + 1;
            world.faults.insert(next, Fault::NoSpace);
        }
        let size = world.nodes.entry(self.1).or_default().seen.len();
        if let Some(room) = world.room {
            let free = room.saturating_sub(world.used());
            take = take.min(size.saturating_sub(at) + free);
        }
        if take == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let node = world.nodes.entry(self.1).or_default();
        node.seen.resize(size.max(at + take), 0);
        node.seen[at..at + take].copy_from_slice(&bytes[..take]);
        node.changes.push(Change::Write(at, bytes[..take].to_vec()));
        Ok(take)
    }
    fn sync(&mut self) -> io::Result<()> {
        let fault = self.0.lock().unwrap().call()?;
        self.node(|node| {
            node.changes.clear();
            if matches!(fault, Some(Fault::Lie)) {
                return Err(io::Error::other("device error"));
            }
            node.kept = node.seen.clone();
            Ok(())
        })
    }
    fn truncate(&mut self, size: u64) -> io::Result<()> {
        self.0.lock().unwrap().call()?;
        let size = usize::try_from(size).unwrap();
        self.node(|node| {
            node.seen.resize(size, 0);
            node.changes.push(Change::Size(size));
        });
        Ok(())
    }
    fn forget_cache(&self) {
        self.node(|node| {
            if node.changes.is_empty() {
                node.seen = node.kept.clone();
            }
        });
    }
}

impl Folder for Sim {
    type File = SimFile;
    fn open(&self, name: &str, access: Access) -> io::Result<SimFile> {
        let known = self.world().names.get(name).copied();
        let id = match (known, access) {
            (Some(id), _) => id,
            (None, Access::Read | Access::Write) => return Err(io::ErrorKind::NotFound.into()),
            (None, Access::Make) => {
                let mut world = self.world();
                world.call()?;
                if world.no_names {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                world.next += 1;
                let id = world.next;
                world.nodes.insert(id, Node::default());
                world.names.insert(name.to_owned(), id);
                world.namings.push(Naming::Put(name.to_owned(), id));
                id
            }
        };
        Ok(SimFile(Arc::clone(&self.0), id))
    }
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world();
        world.call()?;
        if !world.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let naming = Naming::Move(from.to_owned(), to.to_owned());
        self::name(&mut world.names, &naming);
        world.namings.push(naming);
        Ok(())
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.world();
        world.call()?;
        if !world.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let naming = Naming::Take(name.to_owned());
        self::name(&mut world.names, &naming);
        world.namings.push(naming);
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        let mut world = self.world();
        world.call()?;
        world.kept_names = world.names.clone();
        world.namings.clear();
        Ok(())
    }
    fn lock(&self) -> io::Result<bool> {
        Ok(!self.world().locked_by_another)
    }
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("sim").join(name)
    }
}
