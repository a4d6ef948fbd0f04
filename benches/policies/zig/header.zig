//! Refuses requests that do not say for which tenant: one header, read.
const vg = @import("sdk/veilgate.zig");
const c = vg.c;

export fn exports_veilgate_policy_lifecycle_configure(config: *c.policy_string_t, _: *c.policy_string_t) bool {
    c.policy_string_free(config);
    return true;
}

export fn exports_veilgate_policy_request_hook_on_request(decision: *vg.Decision) void {
    var name = vg.text("x-tenant");
    var tenant: c.policy_string_t = .{};
    const named = c.veilgate_policy_request_header(&name, &tenant) and tenant.len > 0;
    c.policy_string_free(&tenant);
    decision.* = vg.goOn();
    if (!named) decision.respond = .{ .is_some = true, .val = .{ .status = 400 } };
}
