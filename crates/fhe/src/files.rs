//! Keys on disk: a directory with `client.key` (secret, readable by its owner alone) and `evaluation.key`.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::FheError;
use crate::keys::{ClientKey, EvaluationKey};

pub const CLIENT_KEY_FILE: &str = "client.key";
pub const EVALUATION_KEY_FILE: &str = "evaluation.key";
/// A client key is a few hundred bytes: anything much larger is another file.
const MAX_CLIENT_KEY_BYTES: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{} exists already; it may be the only way to read what was encrypted with it, so it is never overwritten", .0.display())]
    Exists(PathBuf),
    #[error("others on this machine can read {} (its mode is {mode:o}); run `chmod 600` on it, or make new keys", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{}: {source}", path.display())]
    Content { path: PathBuf, source: FheError },
}

/// Writes both keys into `dir`, which is made (0700) if it is not there. Never overwrites a client key.
pub fn write_keys(
    dir: &Path,
    client: &ClientKey,
    evaluation: &EvaluationKey,
) -> Result<(), KeyFileError> {
    make_private_dir(dir).map_err(|source| io_error("make the directory", dir, source))?;
    let secret = dir.join(CLIENT_KEY_FILE);
    write_new(&secret, &client.to_bytes(), 0o600).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists(secret.clone()),
        _ => io_error("write", &secret, source),
    })?;
    let public = dir.join(EVALUATION_KEY_FILE);
    write_new(&public, evaluation.as_bytes(), 0o644)
        .map_err(|source| io_error("write", &public, source))
}

pub fn read_client_key(dir: &Path) -> Result<ClientKey, KeyFileError> {
    let path = dir.join(CLIENT_KEY_FILE);
    refuse_exposed(&path)?;
    let bytes = read_up_to(&path, MAX_CLIENT_KEY_BYTES)?;
    ClientKey::from_bytes(&bytes).map_err(|source| KeyFileError::Content { path, source })
}

pub fn read_evaluation_key(dir: &Path) -> Result<EvaluationKey, KeyFileError> {
    let path = dir.join(EVALUATION_KEY_FILE);
    let bytes = read_up_to(&path, EvaluationKey::MAX_BYTES)?;
    EvaluationKey::from_bytes(bytes).map_err(|source| KeyFileError::Content { path, source })
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> KeyFileError {
    KeyFileError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

/// One byte more than the limit is read, so that an oversize file is seen as such by the parser.
fn read_up_to(path: &Path, limit: usize) -> Result<Vec<u8>, KeyFileError> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes))
        .map_err(|source| io_error("read", path, source))?;
    Ok(bytes)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn make_private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

#[cfg(unix)]
fn refuse_exposed(path: &Path) -> Result<(), KeyFileError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = fs::metadata(path).map_err(|source| io_error("read", path, source))?;
    let mode = metadata.permissions().mode() & 0o777;
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(KeyFileError::Exposed {
            path: path.to_owned(),
            mode,
        }),
    }
}

#[cfg(not(unix))]
fn refuse_exposed(_path: &Path) -> Result<(), KeyFileError> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::entropy::TestEntropy;
    use crate::params::ParamSet;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_secret_is_private_and_never_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/keys");
        let client = ClientKey::generate(ParamSet::Linear, &mut TestEntropy(1)).unwrap();
        let evaluation = client.evaluation_key(&mut TestEntropy(2)).unwrap();
        write_keys(&dir, &client, &evaluation).unwrap();
        let secret = dir.join(CLIENT_KEY_FILE);
        assert_eq!(
            fs::metadata(&secret).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(read_client_key(&dir).unwrap(), client);
        assert_eq!(read_evaluation_key(&dir).unwrap(), evaluation);
        assert!(matches!(
            write_keys(&dir, &client, &evaluation),
            Err(KeyFileError::Exists(_))
        ));

        fs::set_permissions(&secret, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            read_client_key(&dir),
            Err(KeyFileError::Exposed { mode: 0o640, .. })
        ));
    }

    #[test]
    fn a_file_that_is_something_else_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(EVALUATION_KEY_FILE), vec![0; 100]).unwrap();
        let error = read_evaluation_key(dir.path()).unwrap_err();
        assert!(error.to_string().contains(EVALUATION_KEY_FILE), "{error}");
        assert!(matches!(
            error,
            KeyFileError::Content {
                source: FheError::NotThisFormat(_),
                ..
            }
        ));
    }
}
