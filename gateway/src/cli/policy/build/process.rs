//! Runs a compiler, quietly if it succeeds; what it said is shown if it fails.

use std::process::Command;

/// The last lines of a compiler that failed: enough to see the error, and a bound on what is printed.
const SHOWN_BYTES: usize = 16 * 1024;

/// Runs to the end. `hint` says what to do if the program is not there.
pub(super) fn complete(command: &mut Command, hint: &str) -> Result<Vec<u8>, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => format!("{program} is not there. {hint}"),
            _ => format!("cannot start {program}: {error}"),
        })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!(
        "{program} failed ({}):\n{}{}",
        output.status,
        end_of(&output.stdout),
        end_of(&output.stderr)
    ))
}

fn end_of(bytes: &[u8]) -> String {
    let from = bytes.len().saturating_sub(SHOWN_BYTES);
    String::from_utf8_lossy(&bytes[from..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_that_fails_is_quoted_and_one_that_is_missing_is_explained() {
        let failed = complete(
            Command::new("sh").args(["-c", "echo no such type >&2; exit 3"]),
            "",
        );
        assert!(failed.is_err_and(|message| message.contains("no such type")));
        let missing = complete(&mut Command::new("no-such-compiler"), "Run: get it");
        assert!(missing.is_err_and(|message| message.contains("Run: get it")));
    }
}
