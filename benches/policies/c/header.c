// Refuses requests that do not say for which tenant: one header, read.
#include "policy.h"
#include "sdk/veilgate.h"

bool exports_veilgate_policy_lifecycle_configure(policy_string_t *config, policy_string_t *err) {
  (void)err;
  policy_string_free(config);
  return true;
}

void exports_veilgate_policy_request_hook_on_request(veilgate_policy_types_decision_t *ret) {
  policy_string_t tenant = {0}, name = vg_text("x-tenant");
  bool named = veilgate_policy_request_header(&name, &tenant) && tenant.len > 0;
  policy_string_free(&tenant);
  vg_go_on(ret);
  if (named) return;
  ret->respond.is_some = true;
  ret->respond.val.status = 400;
}
