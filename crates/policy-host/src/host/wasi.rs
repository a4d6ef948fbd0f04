//! The WASI that a guest sees: an empty one. No files, no environment, no arguments, no network; clocks and random numbers of the
//! host's; what it prints goes to the policy's log.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};

use super::log::MAX_BYTES_PER_CALL;
use crate::clock::{Clock, NANOS_PER_MS};
use crate::state::HostState;

/// Streams and pollables that a guest may hold.
const MAX_WASI_HANDLES: usize = 256;
/// Random bytes that a guest gets at once.
const MAX_RANDOM_BYTES: u64 = 64 * 1024;

pub(crate) struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
    /// What was printed in this call.
    printed: Printed,
}

impl Wasi {
    pub(crate) fn new(clock: &Arc<dyn Clock>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_WASI_HANDLES);
        let printed = Printed::default();
        let ctx = WasiCtx::builder()
            .stdout(printed.clone())
            .stderr(printed.clone())
            .wall_clock(Wall(clock.clone()))
            .monotonic_clock(Monotonic(clock.clone()))
            .max_random_size(MAX_RANDOM_BYTES)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        Self {
            ctx,
            table,
            printed,
        }
    }

    /// What the guest printed since the last time, and how much of it was too much.
    pub(crate) fn take_printed(&self) -> (Vec<u8>, usize) {
        let mut buffer = self.printed.0.lock();
        (
            std::mem::take(&mut buffer.kept),
            std::mem::take(&mut buffer.dropped),
        )
    }
}

pub(crate) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)
}

impl WasiView for HostState {
    /// Only modules that import WASI are linked with it, and those have one; a second one is as empty as the first.
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let clock = &self.shared.clock;
        let waits = self
            .waits
            .get_or_insert_with(|| Box::new(crate::waits::Waits::new(None)));
        let wasi = waits.wasi.get_or_insert_with(|| Box::new(Wasi::new(clock)));
        WasiCtxView {
            ctx: &mut wasi.ctx,
            table: &mut wasi.table,
        }
    }
}

struct Wall(Arc<dyn Clock>);
struct Monotonic(Arc<dyn Clock>);

impl HostWallClock for Wall {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.wall_ms())
    }
}

impl HostMonotonicClock for Monotonic {
    fn resolution(&self) -> u64 {
        NANOS_PER_MS
    }

    fn now(&self) -> u64 {
        self.0.monotonic_ns()
    }
}

/// Standard output and standard error. Takes everything at once and keeps as much as one call may log.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Buffer>>);

#[derive(Default)]
struct Buffer {
    kept: Vec<u8>,
    dropped: usize,
}

impl Printed {
    fn take(&self, bytes: &[u8]) {
        let mut buffer = self.0.lock();
        let room = MAX_BYTES_PER_CALL.saturating_sub(buffer.kept.len());
        let (fits, over) = bytes.split_at(room.min(bytes.len()));
        buffer.kept.extend_from_slice(fits);
        buffer.dropped = buffer.dropped.saturating_add(over.len());
    }
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Printed {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_BYTES_PER_CALL)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Printed {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Printed {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
