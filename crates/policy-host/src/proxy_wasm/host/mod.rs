//! The host's side of the ABI: a file per topic. Each reads its arguments within bounds, delegates, and answers with a status.

mod buffers;
mod calls;
mod headers;
mod local;
mod log;
mod metrics;
mod property;
mod shared;
mod streams;
mod time;

use wasmtime::Linker;

pub(super) use headers::{REQUEST_PSEUDO, RESPONSE_PSEUDO, scheme};

use super::foreign;
use super::memory::{Guest, settled};
use super::state::VmState;

/// The module that every import of the ABI is in.
pub(super) const MODULE: &str = "env";

macro_rules! link {
    ($linker:ident, $name:literal, $function:path $(, $argument:ident)*) => {
        $linker.func_wrap(MODULE, $name, |mut guest: Guest<'_> $(, $argument: u32)*| {
            settled($function(&mut guest $(, $argument)*))
        })?
    };
}

/// Everything, whatever was granted: SDKs import what they declare, and filters use little of it.
pub(super) fn link(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    link_messages(linker)?;
    link_streams(linker)?;
    link_state(linker)?;
    link_calls(linker)
}

fn link_messages(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    link!(
        linker,
        "proxy_get_header_map_size",
        headers::size,
        map,
        size_at
    );
    link!(
        linker,
        "proxy_get_header_map_pairs",
        headers::pairs,
        map,
        data_at,
        size_at
    );
    link!(
        linker,
        "proxy_set_header_map_pairs",
        headers::set_pairs,
        map,
        data,
        size
    );
    link!(
        linker,
        "proxy_get_header_map_value",
        headers::value,
        map,
        key,
        key_size,
        data_at,
        size_at
    );
    link!(
        linker,
        "proxy_add_header_map_value",
        headers::add,
        map,
        key,
        key_size,
        value,
        size
    );
    link!(
        linker,
        "proxy_replace_header_map_value",
        headers::replace,
        map,
        key,
        key_size,
        value,
        size
    );
    link!(
        linker,
        "proxy_remove_header_map_value",
        headers::remove,
        map,
        key,
        key_size
    );
    link!(
        linker,
        "proxy_get_buffer_bytes",
        buffers::bytes,
        buffer,
        start,
        max,
        data_at,
        size_at
    );
    link!(
        linker,
        "proxy_set_buffer_bytes",
        buffers::set,
        buffer,
        start,
        size,
        data,
        len
    );
    link!(
        linker,
        "proxy_get_buffer_status",
        buffers::status,
        buffer,
        size_at,
        unused_at
    );
    // ABI 0.1.0.
    link!(
        linker,
        "proxy_get_configuration",
        buffers::configuration,
        data_at,
        size_at
    );
    Ok(())
}

fn link_streams(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    link!(
        linker,
        "proxy_set_effective_context",
        streams::act_as,
        context
    );
    link!(linker, "proxy_done", streams::done);
    link!(linker, "proxy_continue_stream", streams::resume, stream);
    link!(linker, "proxy_close_stream", streams::close, stream);
    link!(
        linker,
        "proxy_send_local_response",
        local::respond,
        status,
        details,
        details_size,
        body,
        body_size,
        headers,
        headers_size,
        grpc_status
    );
    // ABI 0.1.0.
    link!(linker, "proxy_continue_request", streams::resume_request);
    link!(linker, "proxy_continue_response", streams::resume_response);
    link!(linker, "proxy_clear_route_cache", streams::clear_route);
    Ok(())
}

fn link_state(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    link!(linker, "proxy_log", log::write, level, data, size);
    link!(linker, "proxy_get_log_level", log::level, level_at);
    link!(
        linker,
        "proxy_get_current_time_nanoseconds",
        time::now,
        time_at
    );
    link!(
        linker,
        "proxy_set_tick_period_milliseconds",
        time::tick_period,
        ms
    );
    link!(
        linker,
        "proxy_get_property",
        property::read,
        path,
        path_size,
        data_at,
        size_at
    );
    link!(
        linker,
        "proxy_set_property",
        property::set,
        path,
        path_size,
        value,
        size
    );
    link!(
        linker,
        "proxy_get_shared_data",
        shared::read,
        key,
        key_size,
        data_at,
        size_at,
        cas_at
    );
    link!(
        linker,
        "proxy_set_shared_data",
        shared::set,
        key,
        key_size,
        value,
        size,
        cas
    );
    link!(
        linker,
        "proxy_register_shared_queue",
        shared::register,
        name,
        size,
        id_at
    );
    link!(
        linker,
        "proxy_resolve_shared_queue",
        shared::resolve,
        vm,
        vm_size,
        name,
        size,
        id_at
    );
    link!(
        linker,
        "proxy_enqueue_shared_queue",
        shared::enqueue,
        id,
        value,
        size
    );
    link!(
        linker,
        "proxy_dequeue_shared_queue",
        shared::dequeue,
        id,
        data_at,
        size_at
    );
    link!(
        linker,
        "proxy_define_metric",
        metrics::define,
        kind,
        name,
        size,
        id_at
    );
    link!(linker, "proxy_get_metric", metrics::read, id, value_at);
    linker.func_wrap(
        MODULE,
        "proxy_record_metric",
        |mut guest: Guest<'_>, id: u32, value: u64| settled(metrics::record(&mut guest, id, value)),
    )?;
    linker.func_wrap(
        MODULE,
        "proxy_increment_metric",
        |mut guest: Guest<'_>, id: u32, delta: i64| {
            settled(metrics::increment(&mut guest, id, delta))
        },
    )?;
    Ok(())
}

fn link_calls(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    link!(
        linker,
        "proxy_http_call",
        calls::http,
        upstream,
        upstream_size,
        headers,
        headers_size,
        body,
        body_size,
        trailers,
        trailers_size,
        timeout,
        token_at
    );
    link!(
        linker,
        "proxy_call_foreign_function",
        foreign::call,
        name,
        name_size,
        arguments,
        arguments_size,
        data_at,
        size_at
    );
    link!(
        linker,
        "proxy_get_status",
        calls::status,
        code_at,
        data_at,
        size_at
    );
    linker.func_wrap(MODULE, "proxy_grpc_call", calls::grpc_call)?;
    linker.func_wrap(MODULE, "proxy_grpc_stream", calls::grpc_stream)?;
    link!(
        linker,
        "proxy_grpc_send",
        calls::grpc_send,
        id,
        message,
        size,
        end
    );
    link!(linker, "proxy_grpc_cancel", calls::grpc_end, id);
    link!(linker, "proxy_grpc_close", calls::grpc_end, id);
    Ok(())
}
