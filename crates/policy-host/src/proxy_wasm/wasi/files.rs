//! Files that are not there, and the two that go to the log.

use wasmtime::{FuncType, Linker, Val, ValType};

use super::{BAD_FILE, FAULT, MODULE, NOT_THERE, SUCCESS, absent, put};
use crate::bindings::veilgate::policy::log::{Host, Level};
use crate::proxy_wasm::memory::{Guest, split};
use crate::proxy_wasm::state::VmState;

/// Parts of one write.
const MAX_PARTS: u32 = 64;
/// Bytes of one write: more than a call may log.
const MAX_WRITE_BYTES: usize = 64 * 1024;

/// What takes and gives what: `i` is an i32, `I` an i64.
const OTHERS: [(&str, &str, u32); 34] = [
    ("fd_advise", "iIIi", BAD_FILE),
    ("fd_allocate", "iII", BAD_FILE),
    ("fd_close", "i", BAD_FILE),
    ("fd_datasync", "i", BAD_FILE),
    ("fd_fdstat_set_rights", "iII", BAD_FILE),
    ("fd_filestat_get", "ii", BAD_FILE),
    ("fd_filestat_set_size", "iI", BAD_FILE),
    ("fd_filestat_set_times", "iIIi", BAD_FILE),
    ("fd_pread", "iiiIi", BAD_FILE),
    // Go looks for files from 3 on until it sees this number.
    ("fd_prestat_get", "ii", BAD_FILE),
    ("fd_prestat_dir_name", "iii", BAD_FILE),
    ("fd_pwrite", "iiiIi", BAD_FILE),
    ("fd_read", "iiii", BAD_FILE),
    ("fd_readdir", "iiiIi", BAD_FILE),
    ("fd_renumber", "ii", BAD_FILE),
    ("fd_seek", "iIii", BAD_FILE),
    ("fd_sync", "i", BAD_FILE),
    ("fd_tell", "ii", BAD_FILE),
    ("path_create_directory", "iii", BAD_FILE),
    ("path_filestat_get", "iiiii", BAD_FILE),
    ("path_filestat_set_times", "iiiiIIi", BAD_FILE),
    ("path_link", "iiiiiii", BAD_FILE),
    ("path_open", "iiiiiIIii", BAD_FILE),
    ("path_readlink", "iiiiii", BAD_FILE),
    ("path_remove_directory", "iii", BAD_FILE),
    ("path_rename", "iiiiii", BAD_FILE),
    ("path_symlink", "iiiii", BAD_FILE),
    ("path_unlink_file", "iii", BAD_FILE),
    ("sock_accept", "iii", NOT_THERE),
    ("sock_recv", "iiiiii", NOT_THERE),
    ("sock_send", "iiiii", NOT_THERE),
    ("sock_shutdown", "ii", NOT_THERE),
    ("sock_open", "iii", NOT_THERE),
    ("sock_connect", "iii", NOT_THERE),
];

pub(super) fn link(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "fd_write", write)?;
    linker.func_wrap(
        MODULE,
        "fd_fdstat_get",
        |mut guest: Guest<'_>, file: u32, at: u32| match file {
            0..=2 => put(&mut guest, at, &[0; 24]),
            _ => BAD_FILE,
        },
    )?;
    linker.func_wrap(MODULE, "fd_fdstat_set_flags", |file: u32, _: u32| {
        if file <= 2 { SUCCESS } else { BAD_FILE }
    })?;
    for (name, parameters, answer) in OTHERS {
        let parameters = parameters.chars().map(|kind| match kind {
            'I' => ValType::I64,
            _ => ValType::I32,
        });
        let kind = FuncType::new(linker.engine(), parameters, [ValType::I32]);
        linker.func_new(MODULE, name, kind, move |guest, _, results| {
            if name != "fd_prestat_get" {
                absent(&guest);
            }
            results[0] = Val::I32(answer as i32);
            Ok(())
        })?;
    }
    Ok(())
}

/// Standard output is information, standard error is an error.
fn write(
    mut guest: Guest<'_>,
    file: u32,
    parts: u32,
    count: u32,
    written_at: u32,
) -> wasmtime::Result<u32> {
    let level = match file {
        1 => Level::Info,
        2 => Level::Error,
        _ => return Ok(BAD_FILE),
    };
    let Some(bytes) = gathered(&mut guest, parts, count) else {
        return Ok(FAULT);
    };
    let text = String::from_utf8_lossy(&bytes);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        guest.data_mut().base.write(level, line.to_owned())?;
    }
    Ok(put(
        &mut guest,
        written_at,
        &(bytes.len() as u32).to_le_bytes(),
    ))
}

/// As much as is looked at of what the guest writes; it is told so.
fn gathered(guest: &mut Guest<'_>, parts: u32, count: u32) -> Option<Vec<u8>> {
    let (memory, _) = split(guest).ok()?;
    let mut bytes = Vec::new();
    for part in 0..count.min(MAX_PARTS) {
        let at = (parts as usize).checked_add(part as usize * 8)?;
        let word = |at: usize| {
            let word = memory.get(at..at.checked_add(4)?)?.try_into().ok()?;
            Some(u32::from_le_bytes(word) as usize)
        };
        let (data, len) = (word(at)?, word(at.checked_add(4)?)?);
        let all = memory.get(data..data.checked_add(len)?)?;
        let room = MAX_WRITE_BYTES - bytes.len();
        bytes.extend_from_slice(&all[..len.min(room)]);
        if len >= room {
            break;
        }
    }
    Some(bytes)
}
