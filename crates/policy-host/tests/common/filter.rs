//! Tiny proxy-wasm modules in WAT.

use std::fmt::Write as _;

/// Every function of the ABI and how many i32 it takes; `record_metric` and `increment_metric` have an i64 besides.
pub const FUNCTIONS: [(&str, usize); 43] = [
    ("proxy_log", 3),
    ("proxy_get_log_level", 1),
    ("proxy_get_current_time_nanoseconds", 1),
    ("proxy_set_tick_period_milliseconds", 1),
    ("proxy_set_buffer_bytes", 5),
    ("proxy_get_buffer_bytes", 5),
    ("proxy_get_buffer_status", 3),
    ("proxy_get_header_map_size", 2),
    ("proxy_get_header_map_pairs", 3),
    ("proxy_set_header_map_pairs", 3),
    ("proxy_get_header_map_value", 5),
    ("proxy_add_header_map_value", 5),
    ("proxy_replace_header_map_value", 5),
    ("proxy_remove_header_map_value", 3),
    ("proxy_continue_stream", 1),
    ("proxy_close_stream", 1),
    ("proxy_get_status", 3),
    ("proxy_send_local_response", 8),
    ("proxy_http_call", 10),
    ("proxy_grpc_call", 12),
    ("proxy_grpc_stream", 9),
    ("proxy_grpc_send", 4),
    ("proxy_grpc_cancel", 1),
    ("proxy_grpc_close", 1),
    ("proxy_set_shared_data", 5),
    ("proxy_get_shared_data", 5),
    ("proxy_register_shared_queue", 3),
    ("proxy_resolve_shared_queue", 5),
    ("proxy_enqueue_shared_queue", 3),
    ("proxy_dequeue_shared_queue", 3),
    ("proxy_define_metric", 4),
    ("proxy_get_metric", 2),
    ("proxy_get_property", 4),
    ("proxy_set_property", 4),
    ("proxy_call_foreign_function", 6),
    ("proxy_set_effective_context", 1),
    ("proxy_done", 0),
    ("proxy_get_configuration", 2),
    ("proxy_continue_request", 0),
    ("proxy_continue_response", 0),
    ("proxy_clear_route_cache", 0),
    ("proxy_record_metric", 1),
    ("proxy_increment_metric", 1),
];

/// An allocator that only ever moves on.
pub const MALLOC: &str = r#"
  (global $next (mut i32) (i32.const 65536))
  (func (export "malloc") (param i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $next))
    (global.set $next (i32.add (local.get $at) (local.get 0)))
    (local.get $at))
"#;

/// A module of ABI 0.2.1 with two pages of memory: what it is given goes to the second. All of the ABI is imported, each function under
/// its name without `proxy_`. `$expect` traps unless both are the same.
pub fn filter(body: &str) -> Vec<u8> {
    bare(&format!("{MALLOC} {body}"))
}

/// The same without an allocator.
pub fn bare(body: &str) -> Vec<u8> {
    let mut imports = String::new();
    for (name, parameters) in FUNCTIONS {
        let short = name.strip_prefix("proxy_").unwrap();
        let wide = if ["record_metric", "increment_metric"].contains(&short) {
            " i64"
        } else {
            ""
        };
        writeln!(
            imports,
            "(import \"env\" \"{name}\" (func ${short} (param{}{wide}) (result i32)))",
            " i32".repeat(parameters)
        )
        .unwrap();
    }
    let text = format!(
        r#"(module {imports}
          (memory (export "memory") 2)
          (func (export "proxy_abi_version_0_2_1"))
          (func $expect (param i32 i32)
            (if (i32.ne (local.get 0) (local.get 1)) (then unreachable)))
          {body})"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A request callback: goes on after `body`.
pub fn on_request(body: &str) -> String {
    format!(
        "(func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32) {body} (i32.const 0))"
    )
}

/// A response callback.
pub fn on_response(body: &str) -> String {
    format!(
        "(func (export \"proxy_on_response_headers\") (param i32 i32 i32) (result i32) {body} (i32.const 0))"
    )
}

/// Places texts in memory from address 1024 on; `TEXT` in code becomes its address and length.
pub struct Texts {
    data: String,
    next: usize,
}

impl Default for Texts {
    fn default() -> Self {
        Self {
            data: String::new(),
            next: 1024,
        }
    }
}

impl Texts {
    /// `(i32.const AT) (i32.const LEN)`.
    pub fn put(&mut self, bytes: impl AsRef<[u8]>) -> String {
        let bytes = bytes.as_ref();
        let mut escaped = String::new();
        for byte in bytes {
            write!(escaped, "\\{byte:02x}").unwrap();
        }
        writeln!(self.data, "(data (i32.const {}) \"{escaped}\")", self.next).unwrap();
        let placed = format!("(i32.const {}) (i32.const {})", self.next, bytes.len());
        self.next += bytes.len().max(1);
        assert!(self.next < 65536);
        placed
    }

    pub fn data(&self) -> &str {
        &self.data
    }
}
