//! A disk that fails on order, runs full, and can have its power cut. It writes to real files, so that the database can live
//! beside them.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use outbox::{DirEntry, Disk, DiskFile, RealDisk};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A write takes half of its bytes and then says that the disk is full.
    WriteFull,
    /// A write fails at once.
    WriteError,
    /// An fsync fails; what was written may or may not be there.
    SyncError,
    /// A read fails.
    ReadError,
    /// A rename fails.
    RenameError,
}

#[derive(Default)]
struct State {
    /// Faults to come: after so many more operations of that kind.
    faults: Vec<(Fault, u32)>,
    /// As long as it is set, writes fail and no space is free.
    is_full: bool,
    free_bytes: Option<u64>,
    has_power: bool,
    /// Length and contents that are on the medium, of files written since the start.
    durable: HashMap<PathBuf, Vec<u8>>,
    /// Directory entries that no fsync of the directory has covered yet.
    new_names: Vec<PathBuf>,
    injected: u64,
}

#[derive(Clone)]
pub struct FaultDisk {
    state: Arc<Mutex<State>>,
}

struct FaultFile {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    state: Arc<Mutex<State>>,
}

impl State {
    fn check_power(&self) -> io::Result<()> {
        if self.has_power {
            Ok(())
        } else {
            Err(io::Error::other("no power"))
        }
    }

    /// Counts down the faults of this kind; true when one strikes.
    fn strikes(&mut self, fault: Fault) -> bool {
        let Some(at) = self.faults.iter().position(|(f, _)| *f == fault) else {
            return false;
        };
        if self.faults[at].1 > 0 {
            self.faults[at].1 -= 1;
            return false;
        }
        self.faults.remove(at);
        self.injected += 1;
        true
    }
}

fn full() -> io::Error {
    io::Error::from(io::ErrorKind::StorageFull)
}

fn broken() -> io::Error {
    io::Error::other("injected fault")
}

impl FaultDisk {
    pub fn new() -> Self {
        let state = State {
            has_power: true,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with it")
    }

    pub fn inject(&self, fault: Fault, after: u32) {
        self.lock().faults.push((fault, after));
    }

    pub fn injected(&self) -> u64 {
        self.lock().injected
    }

    pub fn calm(&self) {
        self.lock().faults.clear();
    }

    pub fn set_full(&self, is_full: bool) {
        self.lock().is_full = is_full;
    }

    pub fn set_free_bytes(&self, free: Option<u64>) {
        self.lock().free_bytes = free;
    }

    /// From now on nothing reaches the disk.
    pub fn cut_power(&self) {
        self.lock().has_power = false;
    }

    /// After the outbox is gone: takes back what was not on the medium. Of what was written and not synced, `keep` decides
    /// how many bytes stay (a torn write).
    pub fn lose_unsynced(&self, mut keep: impl FnMut(usize) -> usize) {
        let state = self.lock();
        for (path, durable) in &state.durable {
            let Ok(now) = std::fs::read(path) else {
                continue;
            };
            let mut left = durable.clone();
            if now.len() > durable.len() && now.starts_with(durable) {
                let extra = keep(now.len() - durable.len());
                left.extend_from_slice(&now[durable.len()..durable.len() + extra]);
            }
            std::fs::write(path, left).expect("the real disk works");
        }
        for path in &state.new_names {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Disk for FaultDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(path)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        state.check_power()?;
        if state.is_full {
            return Err(full());
        }
        let file = RealDisk.create_new(path)?;
        state.new_names.push(path.to_path_buf());
        state.durable.insert(path.to_path_buf(), Vec::new());
        Ok(self.wrap(path, file))
    }

    fn open_for_update(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        state.check_power()?;
        let existed = path.exists();
        let file = RealDisk.open_for_update(path)?;
        if !existed {
            state.new_names.push(path.to_path_buf());
        }
        let now = std::fs::read(path)?;
        state.durable.insert(path.to_path_buf(), now);
        Ok(self.wrap(path, file))
    }

    fn read(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut state = self.lock();
        state.check_power()?;
        if state.strikes(Fault::ReadError) {
            return Err(broken());
        }
        RealDisk.read(path, offset, len)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.check_power()?;
        if state.strikes(Fault::RenameError) {
            return Err(broken());
        }
        RealDisk.rename(from, to)?;
        if let Some(durable) = state.durable.remove(from) {
            state.durable.insert(to.to_path_buf(), durable);
        }
        state.new_names.retain(|name| name != from);
        // Pessimistic: the file is under neither name after a power cut, until its new directory is synced.
        state.new_names.push(to.to_path_buf());
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.check_power()?;
        RealDisk.remove(path)?;
        state.durable.remove(path);
        state.new_names.retain(|name| name != path);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.check_power()?;
        if state.strikes(Fault::SyncError) {
            return Err(broken());
        }
        state.new_names.retain(|name| name.parent() != Some(path));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.lock().check_power()?;
        RealDisk.list(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let state = self.lock();
        match state.free_bytes {
            Some(free) => Ok(free),
            None if state.is_full => Ok(0),
            None => RealDisk.free_bytes(path),
        }
    }
}

impl FaultDisk {
    fn wrap(&self, path: &Path, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(FaultFile {
            path: path.to_path_buf(),
            file,
            state: self.state.clone(),
        })
    }
}

impl FaultFile {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with it")
    }
}

impl DiskFile for FaultFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (fails, is_full) = {
            let mut state = self.lock();
            state.check_power()?;
            (
                state.strikes(Fault::WriteError),
                state.is_full || state.strikes(Fault::WriteFull),
            )
        };
        if fails {
            return Err(broken());
        }
        if is_full {
            self.file.append(&bytes[..bytes.len() / 2])?;
            return Err(full());
        }
        self.file.append(bytes)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.lock().check_power()?;
        self.file.write_at(offset, bytes)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.lock().check_power()?;
        self.file.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.state.lock().expect("no test panics with it");
        state.check_power()?;
        if state.strikes(Fault::SyncError) {
            return Err(broken());
        }
        self.file.sync()?;
        // The handle may have been renamed since; then its new name was noted by `rename`, and this one is not used again.
        if let Ok(now) = std::fs::read(&self.path) {
            state.durable.insert(self.path.clone(), now);
        }
        Ok(())
    }
}
