//! Where a record lies: the bus of a home with its key, a copy of such a folder, one exported file, a decision journal.

use crate::error::Trouble;
use holdfast_ipc::bootstrap::Home;
use holdfast_store::bus::{ACTIVE, KeyPlace};
use holdfast_store::disk::{Access, FileStorage, Folder, RealFolder};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A folder, or one file that stands for a folder with nothing else in it.
pub(crate) struct Source {
    folder: RealFolder,
    /// The file that plays the open segment.
    only: Option<String>,
}

/// What a path holds.
pub(crate) enum Kind {
    /// Events.
    Bus(Source),
    /// Decisions.
    Decisions(PathBuf),
}

impl Source {
    fn folder(path: &Path) -> Result<Self, Trouble> {
        let folder = RealFolder::existing(path).map_err(fail("open", path))?;
        Ok(Self { folder, only: None })
    }
}

/// A bus, and its key where one is at hand.
pub(crate) type Keyed = (Source, Option<KeyPlace<RealFolder>>);

/// The bus of a home, and its key if there is one; `None` if nothing was ever recorded there.
pub(crate) fn of_home(home: &Home) -> Result<Option<Keyed>, Trouble> {
    let keys = key(home)?;
    match RealFolder::existing(&home.bus()) {
        Ok(folder) => Ok(Some((Source { folder, only: None }, keys))),
        Err(e) if e.kind() == io::ErrorKind::NotFound && keys.is_none() => Ok(None),
        Err(e) => Err(fail("open", &home.bus())(e)),
    }
}

fn key(home: &Home) -> Result<Option<KeyPlace<RealFolder>>, Trouble> {
    let path = home.bus_key();
    if !path.try_exists().map_err(fail("look at", &path))? {
        return Ok(None);
    }
    let folder = RealFolder::existing(&home.keys()).map_err(fail("open", &home.keys()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Some(KeyPlace { folder, name }))
}

/// What lies at a path that was named.
pub(crate) fn of_path(path: &Path) -> Result<Kind, Trouble> {
    let meta = path.metadata().map_err(fail("read", path))?;
    if meta.is_dir() {
        return Source::folder(path).map(Kind::Bus);
    }
    let mut first = [0; 7];
    let mut file = File::open(path).map_err(fail("read", path))?;
    let got = file.read(&mut first).map_err(fail("read", path))?;
    if first[..got].starts_with(b"{\"seq\":") {
        return Ok(Kind::Decisions(path.to_owned()));
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let source = Source::folder(parent)?;
    // The open segment is judged with the head and the segments beside it.
    Ok(Kind::Bus(Source { only: (name != ACTIVE).then_some(name), ..source }))
}

pub(crate) fn fail(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Trouble {
    let path = path.to_owned();
    move |source| Trouble::Home { what, path, source }
}

impl Folder for Source {
    type File = FileStorage;

    fn open(&self, name: &str, _: Access) -> io::Result<FileStorage> {
        match &self.only {
            None => self.folder.open(name, Access::Read),
            Some(only) if name == ACTIVE => self.folder.open(only, Access::Read),
            Some(_) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        if self.only.is_some() { Ok(vec![ACTIVE.to_owned()]) } else { self.folder.list() }
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn lock(&self) -> io::Result<bool> {
        Ok(false)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path(self.only.as_deref().filter(|_| name == ACTIVE).unwrap_or(name))
    }
}
