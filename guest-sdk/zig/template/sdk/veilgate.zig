//! What policies in Zig share: texts, settings, decisions, on the generated bindings (`c`).
//!
//! Who frees what: a text that the gateway gave belongs to the policy, all in a decision to the gateway, which frees it with `free`.
//! The functions here copy both ways, so that a policy has slices and an arena only.
const std = @import("std");
pub const c = @import("bindings");

pub const Decision = c.veilgate_policy_types_decision_t;

/// A slice, to be read by the gateway during one call. Never in a decision.
pub fn text(slice: []const u8) c.policy_string_t {
    return .{ .ptr = @constCast(slice.ptr), .len = slice.len };
}

/// A copy that the gateway may keep and free.
fn given(slice: []const u8) c.policy_string_t {
    const copy = std.heap.c_allocator.dupe(u8, slice) catch @panic("out of memory");
    return .{ .ptr = copy.ptr, .len = copy.len };
}

/// The settings, which live as long as the policy does. Unknown and missing keys are errors.
pub fn parse(comptime T: type, config: *const c.policy_string_t) !T {
    return std.json.parseFromSliceLeaky(T, std.heap.c_allocator, config.ptr[0..config.len], .{ .allocate = .alloc_always });
}

/// False, with a message for the operator.
pub fn fail(err: *c.policy_string_t, message: []const u8) bool {
    err.* = given(message);
    return false;
}

/// A request header, copied into `memory`.
pub fn header(memory: std.mem.Allocator, name: []const u8) !?[]const u8 {
    var wire_name = text(name);
    var value: c.policy_string_t = undefined;
    if (!c.veilgate_policy_request_header(&wire_name, &value)) return null;
    defer c.policy_string_free(&value);
    return try memory.dupe(u8, value.ptr[0..value.len]);
}

pub fn setHeader(name: []const u8, value: []const u8) void {
    var wire_name = text(name);
    var wire_value = text(value);
    _ = c.veilgate_policy_request_set_header(&wire_name, &wire_value);
}

/// A key-value store. All of its functions are in the bindings; here are a counter's.
pub const Store = struct {
    handle: c.veilgate_policy_kv_borrow_store_t,

    pub fn open(name: []const u8) ?Store {
        var wire_name = text(name);
        var own: c.veilgate_policy_kv_own_store_t = undefined;
        var problem: u8 = undefined;
        if (!c.veilgate_policy_kv_static_store_open(&wire_name, &own, &problem)) return null;
        return .{ .handle = c.veilgate_policy_kv_borrow_store(own) };
    }

    pub fn count(store: Store, key: []const u8) u64 {
        var wire_key = text(key);
        var entry: c.veilgate_policy_kv_entry_t = undefined;
        if (!c.veilgate_policy_kv_method_store_get(store.handle, &wire_key, &entry)) return 0;
        defer c.veilgate_policy_kv_entry_free(&entry);
        return std.fmt.parseInt(u64, entry.value.ptr[0..entry.value.len], 10) catch 0;
    }

    /// `ttl` in milliseconds, from the first time on.
    pub fn add(store: Store, key: []const u8, delta: i64, ttl: u64) void {
        var wire_key = text(key);
        var wire_ttl = ttl;
        var sum: i64 = undefined;
        var problem: u8 = undefined;
        _ = c.veilgate_policy_kv_method_store_incr(store.handle, &wire_key, delta, &wire_ttl, &sum, &problem);
    }
};

/// Goes on; this policy needs no later hook.
pub fn goOn() Decision {
    var decision = std.mem.zeroes(Decision);
    decision.done = true;
    return decision;
}

/// Answers the request. `reason`, a constant, stands in the access log and in the metrics.
pub fn refuse(status: u16, comptime reason: []const u8, message: []const u8) Decision {
    var decision = goOn();
    const body = given(message);
    decision.respond = .{ .is_some = true, .val = .{ .status = status, .body = .{ .ptr = body.ptr, .len = body.len } } };
    addField(&decision.respond.val.headers, "content-type", "text/plain; charset=utf-8");
    decision.reason = .{ .is_some = true, .val = given(reason) };
    return decision;
}

/// Adds a header to a decision's list; both are copied.
pub fn addField(fields: *c.veilgate_policy_types_list_field_t, name: []const u8, value: []const u8) void {
    const Field = c.veilgate_policy_types_field_t;
    const size = (fields.len + 1) * @sizeOf(Field);
    const longer = std.c.realloc(fields.ptr, size) orelse @panic("out of memory");
    fields.ptr = @ptrCast(@alignCast(longer));
    fields.ptr[fields.len] = .{ .f0 = given(name), .f1 = given(value) };
    fields.len += 1;
}
