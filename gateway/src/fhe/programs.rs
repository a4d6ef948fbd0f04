//! The programs of this gateway: `*.json` in one directory, read at the start, and installed and removed while it runs.
//!
//! Invariants: a request keeps the program that it began with, whatever becomes of the directory; a program is on disk,
//! whole, before it serves; name and version name one program; memory and count are bounded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use edge_types::Digest;
use fhe::program::MAX_PROGRAM_BYTES;
use fhe::{Program, ProgramError, PublicProgram};
use kernels::{Compiled, KernelError};
use parking_lot::Mutex;

mod disk;

/// More is a directory of something else.
const MAX_PROGRAMS: usize = 1000;
/// Of one name: a client that is so far behind can fetch the public part again.
const MAX_VERSIONS: usize = 32;

#[derive(Debug, thiserror::Error)]
pub enum ProgramsError {
    #[error("the programs in {} cannot be read or written: {source}", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{}: {source}", path.display())]
    Program { path: PathBuf, source: ProgramError },
    #[error("{}: {source}", path.display())]
    Compile { path: PathBuf, source: KernelError },
    #[error("{} and another file both hold version {version} of a program named `{name}`: rename one of them, or give it another version", path.display())]
    Twice {
        path: PathBuf,
        name: String,
        version: u32,
    },
    #[error(
        "version {version} of `{name}` is another program (digest {digest}): give yours another version, or ask for it to be replaced"
    )]
    Another {
        name: String,
        version: u32,
        digest: Digest,
    },
    #[error("{} was put there since the gateway started, and holds version {version} of `{name}` too: remove it, or give yours another version", path.display())]
    Waiting {
        path: PathBuf,
        name: String,
        version: u32,
    },
    #[error("there would be more than {MAX_PROGRAMS} programs in {}: remove some; is it the right directory?", .0.display())]
    TooMany(PathBuf),
    #[error("there are {MAX_VERSIONS} versions of `{0}`: remove one that no client uses any more")]
    TooManyVersions(String),
    #[error(
        "`{name}` takes {bytes} bytes of memory, and {left} of program_memory_bytes are left: remove a program, or raise it"
    )]
    Memory { name: String, bytes: u64, left: u64 },
}

/// A program that serves.
pub(super) struct Entry {
    pub compiled: Arc<Compiled>,
    /// JSON of the part that clients are given, made once.
    pub public: bytes::Bytes,
    /// Memory, by a cautious estimate.
    pub bytes: u64,
    path: PathBuf,
}

impl Entry {
    fn program(&self) -> &Program {
        self.compiled.program()
    }
}

/// What became of a program that was to be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Installed {
    New,
    Replaced,
    /// It was there, exactly so.
    Unchanged,
}

/// All that serve, by name and version; replaced as a whole.
#[derive(Clone, Default)]
struct Catalog(BTreeMap<String, BTreeMap<u32, Arc<Entry>>>);

impl Catalog {
    fn all(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.0.values().flat_map(BTreeMap::values)
    }

    fn at(&self, name: &str, version: u32) -> Option<&Arc<Entry>> {
        self.0.get(name)?.get(&version)
    }

    /// That one more fits, in place of the one of its name and version.
    fn check(&self, entry: &Entry, dir: &Path, memory: u64) -> Result<(), ProgramsError> {
        let (name, version) = (entry.program().name(), entry.program().version());
        let replaced = self.at(name, version);
        if replaced.is_none() {
            if self.all().count() >= MAX_PROGRAMS {
                return Err(ProgramsError::TooMany(dir.to_owned()));
            }
            if self
                .0
                .get(name)
                .is_some_and(|all| all.len() >= MAX_VERSIONS)
            {
                return Err(ProgramsError::TooManyVersions(name.to_owned()));
            }
        }
        let used: u64 = self.all().map(|one| one.bytes).sum();
        let left = memory.saturating_sub(used - replaced.map_or(0, |one| one.bytes));
        match entry.bytes > left {
            false => Ok(()),
            true => Err(ProgramsError::Memory {
                name: name.to_owned(),
                bytes: entry.bytes,
                left,
            }),
        }
    }

    fn insert(&mut self, entry: Arc<Entry>) {
        let (name, version) = (entry.program().name(), entry.program().version());
        self.0
            .entry(name.to_owned())
            .or_default()
            .insert(version, entry);
    }
}

pub(super) struct Programs {
    dir: PathBuf,
    memory: u64,
    current: ArcSwap<Catalog>,
    /// Held while the directory is changed: one change at a time.
    turn: Mutex<()>,
}

impl Programs {
    pub fn load(dir: &Path, memory: u64) -> Result<Self, ProgramsError> {
        let mut catalog = Catalog::default();
        for path in disk::files(dir)? {
            let entry = make(&disk::read(&path)?, &path)?;
            let (name, version) = (entry.program().name(), entry.program().version());
            if catalog.at(name, version).is_some() {
                let name = name.to_owned();
                return Err(ProgramsError::Twice {
                    path,
                    name,
                    version,
                });
            }
            catalog.check(&entry, dir, memory)?;
            tracing::info!(program = name, version, path = %path.display(), "program loaded");
            catalog.insert(Arc::new(entry));
        }
        if catalog.0.is_empty() {
            tracing::warn!(dir = %dir.display(), "there is no program in this directory");
        }
        Ok(Self {
            dir: dir.to_owned(),
            memory,
            current: ArcSwap::from_pointee(catalog),
            turn: Mutex::new(()),
        })
    }

    /// The newest version.
    pub fn get(&self, name: &str) -> Option<Arc<Entry>> {
        let current = self.current.load();
        current.0.get(name)?.values().next_back().cloned()
    }

    pub fn version(&self, name: &str, version: u32) -> Option<Arc<Entry>> {
        self.current.load().at(name, version).cloned()
    }

    /// The version that rows were encrypted for.
    pub fn of_digest(&self, name: &str, digest: Digest) -> Option<Arc<Entry>> {
        let current = self.current.load();
        let mut versions = current.0.get(name)?.values();
        versions
            .find(|entry| entry.program().digest() == digest)
            .cloned()
    }

    /// By name, then by version.
    pub fn all(&self) -> Vec<Arc<Entry>> {
        self.current.load().all().cloned().collect()
    }

    /// Takes a program into service, after it is on disk. Compiles and writes: blocks.
    pub fn install(
        &self,
        bytes: &[u8],
        is_replacing: bool,
    ) -> Result<(Arc<Entry>, Installed), ProgramsError> {
        let mut entry = make(bytes, Path::new("the program"))?;
        let digest = entry.program().digest();
        let _turn = self.turn.lock();
        let mut catalog = Catalog::clone(&self.current.load());
        let compiled = entry.compiled.clone();
        let (name, version) = (compiled.program().name(), compiled.program().version());
        let installed = match catalog.at(name, version) {
            None => {
                entry.path = self.place(&catalog, compiled.program())?;
                Installed::New
            }
            Some(there) if there.program().digest() == digest => {
                return Ok((there.clone(), Installed::Unchanged));
            }
            Some(there) if is_replacing => {
                // Over the file of the one before: there is never a moment with both, or with neither.
                entry.path = there.path.clone();
                Installed::Replaced
            }
            Some(there) => {
                return Err(ProgramsError::Another {
                    name: name.to_owned(),
                    version,
                    digest: there.program().digest(),
                });
            }
        };
        catalog.check(&entry, &self.dir, self.memory)?;
        disk::write(&entry.path, bytes)?;
        tracing::info!(program = name, version, %digest, "program installed");
        let entry = Arc::new(entry);
        catalog.insert(entry.clone());
        self.current.store(Arc::new(catalog));
        Ok((entry, installed))
    }

    /// The file of a program that is new. Files that were put here by hand since the start are not in the catalog: none of them is
    /// written over, and two of one name and version would stop the next start.
    fn place(&self, catalog: &Catalog, program: &Program) -> Result<PathBuf, ProgramsError> {
        let files = disk::files(&self.dir)?;
        let is_known = |path: &Path| catalog.all().any(|entry| entry.path == path);
        let (name, version, digest) = (program.name(), program.version(), program.digest());
        for path in files.iter().filter(|path| !is_known(path)) {
            // What is not sound stops the next start whatever is done here.
            let Ok(found) = Program::from_json(&disk::read(path)?) else {
                continue;
            };
            if found.digest() == digest {
                return Ok(path.clone());
            }
            if (found.name(), found.version()) == (name, version) {
                return Err(ProgramsError::Waiting {
                    path: path.clone(),
                    name: name.to_owned(),
                    version,
                });
            }
        }
        // A file may be called as this program would be and hold another: it was changed by hand, or is a copy.
        let mut place = self.dir.join(format!("{digest}.json"));
        let mut copies = 0;
        while files.contains(&place) {
            copies += 1;
            place = self.dir.join(format!("{digest}-{copies}.json"));
        }
        Ok(place)
    }

    /// One version, or all; how many that were. Requests that were admitted are still computed. Blocks on the disk.
    pub fn remove(&self, name: &str, version: Option<u32>) -> Result<usize, ProgramsError> {
        let _turn = self.turn.lock();
        let mut catalog = Catalog::clone(&self.current.load());
        let Some(versions) = catalog.0.get_mut(name) else {
            return Ok(0);
        };
        let removed: Vec<_> = versions
            .extract_if(.., |found, _| {
                version.is_none_or(|version| version == *found)
            })
            .map(|(_, entry)| entry)
            .collect();
        if versions.is_empty() {
            catalog.0.remove(name);
        }
        // From the disk first: what was said to be gone is not back after a restart.
        for entry in &removed {
            disk::remove(&entry.path)?;
        }
        self.current.store(Arc::new(catalog));
        tracing::info!(program = name, versions = removed.len(), "program removed");
        Ok(removed.len())
    }
}

fn make(bytes: &[u8], path: &Path) -> Result<Entry, ProgramsError> {
    let path = path.to_owned();
    let program = match Program::from_json(bytes) {
        Ok(program) => program,
        Err(source) => return Err(ProgramsError::Program { path, source }),
    };
    let public = match serde_json::to_vec(&PublicProgram::from(&program)) {
        Ok(public) => public,
        Err(error) => {
            let source = ProgramError::Syntax(error.to_string());
            return Err(ProgramsError::Program { path, source });
        }
    };
    let size = memory_of(&program, bytes.len());
    match Compiled::new(program) {
        Ok(compiled) => Ok(Entry {
            compiled: Arc::new(compiled),
            bytes: size + public.len() as u64,
            public: public.into(),
            path,
        }),
        Err(source) => Err(ProgramsError::Compile { path, source }),
    }
}

/// A polynomial of 16 KiB for each table; and the file's own content, whose numbers are up to eight times as large in memory as in
/// their text (a digit and a comma become a term of 16 bytes).
fn memory_of(program: &Program, file_bytes: usize) -> u64 {
    let lookups = program.rounds().iter().filter_map(|r| r.lookup.as_ref());
    let tables: usize = lookups.map(|lookup| lookup.tables.len()).sum();
    (tables * fhe::params::POLYNOMIAL_SIZE * 8 + file_bytes * 8) as u64
}

#[cfg(test)]
mod tests;
