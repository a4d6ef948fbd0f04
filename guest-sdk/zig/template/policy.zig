//! Each caller, named by a header, may do so many requests; one who insists is blocked for a while.
const std = @import("std");
const vg = @import("sdk/veilgate.zig");
/// The bindings, made from wit/ when it is built: build/bindings/policy.zig, and policy.h with the comments.
const c = vg.c;

/// How long a refusal counts against its caller, in milliseconds.
const remembered = 600_000;

const Settings = struct {
    header: []const u8,
    limit: u64,
    seconds: u64,
    strikes: u64,
};

// A policy keeps its configuration and nothing else: what must last is in the limiter and the store, which all instances share.
var settings: Settings = undefined;
var limiter: c.veilgate_policy_limits_borrow_limiter_t = undefined;
var refusals: vg.Store = undefined;

/// False refuses the configuration, with the text in `err`: `veilgate check` shows it.
export fn exports_veilgate_policy_lifecycle_configure(config: *c.policy_string_t, err: *c.policy_string_t) bool {
    settings = vg.parse(Settings, config) catch |problem| return vg.fail(err, @errorName(problem));
    if (settings.header.len == 0) return vg.fail(err, "`header` must be a text");
    if (settings.limit == 0 or settings.seconds == 0 or settings.strikes == 0)
        return vg.fail(err, "`limit`, `seconds` and `strikes` must be whole numbers above zero");
    var name = vg.text("calls");
    var spec: c.veilgate_policy_limits_spec_t = .{
        .algorithm = c.VEILGATE_POLICY_LIMITS_ALGORITHM_GCRA,
        .limit = settings.limit,
        .per = settings.seconds * 1000,
        .burst = settings.limit,
    };
    var own: c.veilgate_policy_limits_own_limiter_t = undefined;
    var problem: u8 = undefined;
    if (!c.veilgate_policy_limits_static_limiter_define(&name, &spec, &own, &problem))
        return vg.fail(err, "the gateway does not take this `limit` or `seconds`");
    limiter = c.veilgate_policy_limits_borrow_limiter(own);
    refusals = vg.Store.open("refusals") orelse return vg.fail(err, "the gateway does not open the store `refusals`");
    return true;
}

export fn exports_veilgate_policy_request_hook_on_request(decision: *c.veilgate_policy_types_decision_t) void {
    // all that one call needs is given back at its end
    var arena = std.heap.ArenaAllocator.init(std.heap.c_allocator);
    defer arena.deinit();
    decision.* = decide(arena.allocator()) catch @panic("out of memory");
}

fn decide(memory: std.mem.Allocator) !vg.Decision {
    const caller = try vg.header(memory, settings.header) orelse "";
    if (caller.len == 0)
        return vg.refuse(401, "no-caller", try std.fmt.allocPrint(memory, "say who you are: {s}\n", .{settings.header}));
    const tenant = try vg.header(memory, "x-tenant") orelse "default";
    const key = try std.fmt.allocPrint(memory, "{s}/{s}", .{ tenant, caller });
    if (refusals.count(key) >= settings.strikes)
        return vg.refuse(403, "blocked", "blocked: too many requests over the limit\n");

    var taken: c.veilgate_policy_limits_verdict_t = undefined;
    var wire_key = vg.text(key);
    c.veilgate_policy_limits_method_limiter_take(limiter, &wire_key, 1, &taken);
    if (!taken.allowed) {
        refusals.add(key, 1, remembered);
        var refused = vg.refuse(429, "over-limit", "over the limit\n");
        const seconds = try std.fmt.allocPrint(memory, "{d}", .{(taken.retry_after + 999) / 1000});
        vg.addField(&refused.respond.val.headers, "retry-after", seconds);
        return refused;
    }
    vg.setHeader("x-caller", key);
    var passes = vg.goOn();
    vg.addField(&passes.response_headers, "x-remaining", try std.fmt.allocPrint(memory, "{d}", .{taken.remaining}));
    return passes;
}
