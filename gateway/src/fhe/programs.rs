//! The programs of this gateway: read once, at the start, from `*.json` in one directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fhe::program::MAX_PROGRAM_BYTES;
use fhe::{Program, ProgramError, PublicProgram};
use kernels::{Compiled, KernelError};

/// More is a directory of something else.
const MAX_PROGRAMS: usize = 1000;

#[derive(Debug, thiserror::Error)]
pub enum ProgramsError {
    #[error("the programs in {} cannot be read: {source}", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{}: {source}", path.display())]
    Program { path: PathBuf, source: ProgramError },
    #[error("{}: {source}", path.display())]
    Compile { path: PathBuf, source: KernelError },
    #[error("{} and another file both hold a program named `{name}`: rename one of them", path.display())]
    Twice { path: PathBuf, name: String },
    #[error("{} holds more than {MAX_PROGRAMS} programs: is it the right directory?", .0.display())]
    TooMany(PathBuf),
}

pub(super) struct Entry {
    pub compiled: Arc<Compiled>,
    /// JSON of the part that clients are given, made once.
    pub public: bytes::Bytes,
}

pub(super) struct Programs(BTreeMap<String, Entry>);

impl Programs {
    pub fn load(dir: &Path) -> Result<Self, ProgramsError> {
        let io = |source| ProgramsError::Io {
            path: dir.to_owned(),
            source,
        };
        let mut programs = BTreeMap::new();
        for file in std::fs::read_dir(dir).map_err(io)? {
            let path = file.map_err(io)?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let (name, entry) = load(&path)?;
            if programs.contains_key(&name) {
                return Err(ProgramsError::Twice { path, name });
            }
            if programs.len() == MAX_PROGRAMS {
                return Err(ProgramsError::TooMany(dir.to_owned()));
            }
            tracing::info!(program = name, path = %path.display(), "program loaded");
            programs.insert(name, entry);
        }
        if programs.is_empty() {
            tracing::warn!(dir = %dir.display(), "there is no program in this directory");
        }
        Ok(Self(programs))
    }

    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.0.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.0.values()
    }
}

fn load(path: &Path) -> Result<(String, Entry), ProgramsError> {
    let bytes = read(path).map_err(|source| ProgramsError::Io {
        path: path.to_owned(),
        source,
    })?;
    let wrong = |source| ProgramsError::Program {
        path: path.to_owned(),
        source,
    };
    let program = Program::from_json(&bytes).map_err(wrong)?;
    let public = serde_json::to_vec(&PublicProgram::from(&program))
        .map_err(|e| wrong(ProgramError::Syntax(e.to_string())))?;
    let name = program.name().to_owned();
    let compiled = Compiled::new(program).map_err(|source| ProgramsError::Compile {
        path: path.to_owned(),
        source,
    })?;
    let entry = Entry {
        compiled: Arc::new(compiled),
        public: public.into(),
    };
    Ok((name, entry))
}

/// One byte past the limit, so that the parser sees an oversize file as such.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MAX_PROGRAM_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
