// Each caller, named by a header, may do so many requests; one who insists is blocked for a while.
#include "policy.h" // made from wit/ when it is built: build/bindings/policy.h
#include "sdk/veilgate.h"

// How long a refusal counts against its caller, in milliseconds.
static uint64_t remembered = 600000;

// A policy keeps its configuration and nothing else: what must last is in the limiter and the store, which all instances share.
static policy_string_t caller_header;
static uint64_t strikes;
static veilgate_policy_limits_own_limiter_t limiter;
static veilgate_policy_kv_own_store_t refusals;

// False refuses the configuration, with the text in `err`: `veilgate check` shows it.
bool exports_veilgate_policy_lifecycle_configure(policy_string_t *config, policy_string_t *err) {
  uint64_t limit, seconds;
  if (!vg_setting_text(config, "header", &caller_header, err) || !vg_setting_integer(config, "limit", &limit, err) ||
      !vg_setting_integer(config, "seconds", &seconds, err) || !vg_setting_integer(config, "strikes", &strikes, err)) {
    return false;
  }
  policy_string_t calls = vg_text("calls"), store = vg_text("refusals");
  veilgate_policy_limits_spec_t spec = {VEILGATE_POLICY_LIMITS_ALGORITHM_GCRA, limit, seconds * 1000, limit};
  uint8_t error;
  if (!veilgate_policy_limits_static_limiter_define(&calls, &spec, &limiter, &error)) {
    return vg_fail(err, "the gateway does not take this `limit` or `seconds`");
  }
  if (!veilgate_policy_kv_static_store_open(&store, &refusals, &error)) {
    return vg_fail(err, "the gateway does not open the store `refusals`");
  }
  return true;
}

// `tenant/caller`; false if the request does not say who calls.
static bool key_of(policy_string_t *key) {
  policy_string_t caller, tenant, tenant_header = vg_text("x-tenant");
  if (!veilgate_policy_request_header(&caller_header, &caller)) return false;
  bool named = veilgate_policy_request_header(&tenant_header, &tenant);
  *key = vg_join(named ? tenant : vg_text("default"), "/", caller);
  if (named) policy_string_free(&tenant);
  bool empty = caller.len == 0;
  policy_string_free(&caller);
  return !empty;
}

static uint64_t refusals_of(policy_string_t *key) {
  veilgate_policy_kv_entry_t entry;
  if (!veilgate_policy_kv_method_store_get(veilgate_policy_kv_borrow_store(refusals), key, &entry)) return 0;
  uint64_t count = vg_number(entry.value.ptr, entry.value.len);
  veilgate_policy_kv_entry_free(&entry);
  return count;
}

void exports_veilgate_policy_request_hook_on_request(veilgate_policy_types_decision_t *ret) {
  policy_string_t key;
  if (!key_of(&key)) {
    policy_string_t message = vg_join(vg_text("say who you are"), ": ", caller_header);
    vg_refuse(ret, 401, "no-caller", vg_join(message, "\n", vg_text("")));
    return;
  }
  if (refusals_of(&key) >= strikes) {
    vg_refuse(ret, 403, "blocked", vg_copy("blocked: too many requests over the limit\n"));
    return;
  }
  veilgate_policy_limits_verdict_t verdict;
  veilgate_policy_limits_method_limiter_take(veilgate_policy_limits_borrow_limiter(limiter), &key, 1, &verdict);
  if (!verdict.allowed) {
    int64_t count;
    uint8_t error;
    veilgate_policy_kv_method_store_incr(veilgate_policy_kv_borrow_store(refusals), &key, 1, &remembered, &count, &error);
    vg_refuse(ret, 429, "over-limit", vg_copy("over the limit\n"));
    vg_add_field(&ret->respond.val.headers, "retry-after", vg_decimal((verdict.retry_after + 999) / 1000));
    return;
  }
  policy_string_t name = vg_text("x-caller");
  veilgate_policy_request_set_header(&name, &key);
  policy_string_free(&key);
  vg_go_on(ret);
  vg_add_field(&ret->response_headers, "x-remaining", vg_decimal(verdict.remaining));
}
