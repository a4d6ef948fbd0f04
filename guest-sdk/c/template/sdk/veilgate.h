// What policies in C share: texts, settings, decisions. Include "policy.h" before it.
//
// Who frees what: a text that the gateway gave belongs to the policy (policy_string_free), all in a decision to the gateway: there,
// only texts of vg_copy, vg_join and vg_decimal may stand. A policy that forgets to free runs into its memory limit and is started anew.
#ifndef VEILGATE_H
#define VEILGATE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// A constant, to be read by the gateway during one call. Never in a decision.
static inline policy_string_t vg_text(const char *text) { return (policy_string_t){(uint8_t *)text, strlen(text)}; }

static inline policy_string_t vg_copy(const char *text) {
  policy_string_t copy;
  policy_string_dup(&copy, text);
  return copy;
}

// `left`, `between` and `right` in one new text.
static inline policy_string_t vg_join(policy_string_t left, const char *between, policy_string_t right) {
  size_t middle = strlen(between);
  policy_string_t all = {malloc(left.len + middle + right.len + 1), left.len + middle + right.len};
  if (!all.ptr) abort();
  if (left.len) memcpy(all.ptr, left.ptr, left.len);
  memcpy(all.ptr + left.len, between, middle);
  if (right.len) memcpy(all.ptr + left.len + middle, right.ptr, right.len);
  return all;
}

static inline policy_string_t vg_decimal(uint64_t number) {
  char digits[21] = {0};
  size_t at = sizeof digits - 1;
  do {
    digits[--at] = (char)('0' + number % 10);
    number /= 10;
  } while (number);
  return vg_copy(digits + at);
}

// The decimal number that these bytes begin with; 0 if they do not.
static inline uint64_t vg_number(const uint8_t *bytes, size_t len) {
  uint64_t number = 0;
  for (size_t i = 0; i < len && bytes[i] >= '0' && bytes[i] <= '9'; i++) number = number * 10 + (bytes[i] - '0');
  return number;
}

// ---- settings

// False, with a message for the operator.
static inline bool vg_fail(policy_string_t *err, const char *message) {
  *err = vg_copy(message);
  return false;
}

// Finds the setting `key` in the configuration, a JSON object: where its value begins, or NULL. See json.h.
#include "json.h"

static inline bool vg_setting_problem(policy_string_t *err, const char *key, const char *problem) {
  policy_string_t quoted = vg_join(vg_text("`"), key, vg_text("` "));
  *err = vg_join(quoted, problem, vg_text(""));
  policy_string_free(&quoted);
  return false;
}

// A text that is not empty.
static inline bool vg_setting_text(policy_string_t *config, const char *key, policy_string_t *value, policy_string_t *err) {
  vg_json at = vg_json_member(config->ptr, config->len, key);
  if (at.here && vg_json_text(&at, value) && value->len) return true;
  return vg_setting_problem(err, key, "must be a text");
}

// A whole number above zero.
static inline bool vg_setting_integer(policy_string_t *config, const char *key, uint64_t *value, policy_string_t *err) {
  vg_json at = vg_json_member(config->ptr, config->len, key);
  if (at.here && vg_json_integer(&at, value) && *value) return true;
  return vg_setting_problem(err, key, "must be a whole number above zero");
}

// ---- decisions

// Takes `value`, which must be a copy.
static inline void vg_add_field(veilgate_policy_types_list_field_t *fields, const char *name, policy_string_t value) {
  veilgate_policy_types_field_t *longer = realloc(fields->ptr, (fields->len + 1) * sizeof *longer);
  if (!longer) abort();
  longer[fields->len] = (veilgate_policy_types_field_t){vg_copy(name), value};
  fields->ptr = longer;
  fields->len++;
}

// Goes on; this policy needs no later hook.
static inline void vg_go_on(veilgate_policy_types_decision_t *decision) {
  memset(decision, 0, sizeof *decision);
  decision->done = true;
}

// Answers the request. `reason`, a constant, stands in the access log and in the metrics. Takes `message`, which must be a copy.
static inline void vg_refuse(veilgate_policy_types_decision_t *decision, uint16_t status, const char *reason, policy_string_t message) {
  vg_go_on(decision);
  decision->respond.is_some = true;
  decision->respond.val.status = status;
  decision->respond.val.body.ptr = message.ptr;
  decision->respond.val.body.len = message.len;
  vg_add_field(&decision->respond.val.headers, "content-type", vg_copy("text/plain; charset=utf-8"));
  decision->reason.is_some = true;
  decision->reason.val = vg_copy(reason);
}

#endif
