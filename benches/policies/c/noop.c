// Lets every request pass: what a call costs by itself.
#include "policy.h"
#include "sdk/veilgate.h"

bool exports_veilgate_policy_lifecycle_configure(policy_string_t *config, policy_string_t *err) {
  (void)err;
  policy_string_free(config);
  return true;
}

void exports_veilgate_policy_request_hook_on_request(veilgate_policy_types_decision_t *ret) { vg_go_on(ret); }
