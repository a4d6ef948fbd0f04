//! Compiles in a process of its own: one that can be stopped, whose memory is limited, and that does not take time from those who
//! serve. A compilation cannot be interrupted where it runs.
//!
//! The process is this program, started with the arguments that its owner says (`CompilerProgram`) and an order after them. It reads
//! the module from its standard input, sets limits for itself, and writes the native code to its standard output; what is wrong it
//! says on standard error. Limits are of processor time: a busy machine refuses nothing.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Resource, Rlimit, Signal};
use wasmtime::Module;
use wasmtime::component::Component;

use crate::precompiled::{Believed, Compiled, Fresh};
use crate::tier::{Tier, compiling_engine};

/// Of one compilation, all its threads together. CPython takes less than a third of it.
pub(crate) const MAX_COMPILE_SECONDS: u64 = 120;
/// Memory of one compilation. CPython takes 500 MiB.
pub(crate) const MAX_COMPILE_MEMORY_BYTES: u64 = 2 << 30;
/// Native code of one module. CPython's is 68 MiB.
pub(crate) const MAX_CODE_BYTES: u64 = 512 << 20;
/// What is read of the process's last words.
const MAX_WORDS: u64 = 4096;
/// How far it stands back while others want the processor, when nobody waits for it.
const NICE: i32 = 10;

/// How this program is started to compile one module (`compile_here` is what it does then).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompilerProgram {
    pub program: PathBuf,
    /// Ahead of the order.
    pub args: Vec<OsString>,
}

/// What the process is to do: its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    tier: Tier,
    /// It stands back.
    gently: bool,
    component: bool,
}

impl Order {
    fn words(self) -> [&'static str; 3] {
        [
            self.tier.label(),
            if self.gently { "gently" } else { "now" },
            if self.component {
                Component::KIND
            } else {
                Module::KIND
            },
        ]
    }

    fn parse(words: &[String]) -> Option<Self> {
        let all = [Tier::Quick, Tier::Optimised];
        let [tier, pace, kind] = words else {
            return None;
        };
        let order = Self {
            tier: all.into_iter().find(|known| known.label() == tier)?,
            gently: pace == "gently",
            component: kind == Component::KIND,
        };
        (order.words() == [tier.as_str(), pace, kind]).then_some(order)
    }
}

/// The process's part: reads a module, writes its native code. `order` is what follows `CompilerProgram::args`. An error is for
/// standard error.
pub fn compile_here(order: &[String], from: impl Read, mut to: impl Write) -> Result<(), String> {
    let order =
        Order::parse(order).ok_or("this is for the gateway itself, which compiles modules here")?;
    limit(order).map_err(|error| format!("its limits could not be set: {error}"))?;
    let mut wasm = Vec::new();
    let mut from = from;
    from.read_to_end(&mut wasm)
        .map_err(|error| error.to_string())?;
    let compiled = compiling_engine(order.tier).and_then(|engine| match order.component {
        true => Component::compile(&engine, &wasm),
        false => Module::compile(&engine, &wasm),
    });
    let code = compiled.map_err(|error| format!("{error:#}"))?;
    to.write_all(code.bytes())
        .and_then(|()| to.flush())
        .map_err(|error| error.to_string())
}

fn limit(order: Order) -> io::Result<()> {
    let set = |resource, most| {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        rustix::process::setrlimit(resource, limit)
    };
    // Who asked is gone: nobody wants the code any more.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    set(Resource::Core, 0)?;
    set(Resource::Cpu, MAX_COMPILE_SECONDS)?;
    set(Resource::Data, MAX_COMPILE_MEMORY_BYTES)?;
    if order.gently {
        rustix::process::nice(NICE)?;
    }
    Ok(())
}

/// Waits for the process. Nothing of it is left behind.
pub(crate) fn compile<T: Compiled>(
    program: &CompilerProgram,
    tier: Tier,
    gently: bool,
    wasm: &[u8],
) -> wasmtime::Result<Fresh> {
    let order = Order {
        tier,
        gently,
        component: T::KIND == Component::KIND,
    };
    let failed = |error: io::Error| {
        wasmtime::Error::msg(format!(
            "the process that compiles it ({}) failed: {error}",
            program.program.display()
        ))
    };
    let mut process = Process(start(program, order).map_err(failed)?);
    let (code, words) = process.talk(wasm).map_err(failed)?;
    let ended = process.0.wait().map_err(failed)?;
    match ended.success() {
        true => Ok(Fresh::from_own_child(code)),
        false => Err(wasmtime::Error::msg(why(ended, &words))),
    }
}

fn start(program: &CompilerProgram, order: Order) -> io::Result<Child> {
    Command::new(&program.program)
        .args(&program.args)
        .args(order.words())
        // What this process knows is not for it.
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Ends with its owner.
struct Process(Child);

impl Process {
    /// Its code, and its last words.
    fn talk(&mut self, wasm: &[u8]) -> io::Result<(Vec<u8>, String)> {
        let missing = || io::Error::other("a pipe is missing");
        let mut input = self.0.stdin.take().ok_or_else(missing)?;
        let output = self.0.stdout.take().ok_or_else(missing)?;
        let errors = self.0.stderr.take().ok_or_else(missing)?;
        let (mut code, mut words) = (Vec::new(), Vec::new());
        std::thread::scope(|scope| {
            // A process that ends before it read all says why itself.
            scope.spawn(move || input.write_all(wasm));
            let read = output.take(MAX_CODE_BYTES + 1).read_to_end(&mut code);
            if code.len() as u64 > MAX_CODE_BYTES {
                let _ = self.0.kill();
                return Err(io::Error::other(format!(
                    "its code is longer than {MAX_CODE_BYTES} bytes"
                )));
            }
            read
        })?;
        errors.take(MAX_WORDS).read_to_end(&mut words)?;
        Ok((code, String::from_utf8_lossy(&words).trim().to_owned()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already unless something went wrong here.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn why(ended: ExitStatus, words: &str) -> String {
    let signal = ended.signal();
    let is = |known: Signal| signal == Some(known.as_raw());
    if is(Signal::XCPU) || is(Signal::KILL) {
        return format!(
            "compiling it took more than {MAX_COMPILE_SECONDS} s of processor time: one of its functions is too large or has too many \
             branches; split it, or have its compiler inline less"
        );
    }
    match signal {
        Some(_) => format!(
            "compiling it took more than {} MiB of memory: one of its functions is too large or has too many branches; split it, or \
             have its compiler inline less ({words})",
            MAX_COMPILE_MEMORY_BYTES >> 20
        ),
        None => words.to_owned(),
    }
}

#[cfg(test)]
#[path = "workshop/tests.rs"]
mod tests;
