// Reads one JSON document where it lies: enough for a policy's settings. The gateway gives well-formed JSON.
#ifndef VEILGATE_JSON_H
#define VEILGATE_JSON_H

// A place in the document; `here` is NULL if there is none.
typedef struct {
  const uint8_t *here, *end;
} vg_json;

static inline void vg_json_space(vg_json *at) {
  while (at->here < at->end && (*at->here == ' ' || *at->here == '\t' || *at->here == '\n' || *at->here == '\r')) at->here++;
}

static inline bool vg_json_takes(vg_json *at, uint8_t byte) {
  vg_json_space(at);
  if (at->here >= at->end || *at->here != byte) return false;
  at->here++;
  return true;
}

// Over a string, quotes and all.
static inline bool vg_json_skip_text(vg_json *at) {
  if (!vg_json_takes(at, '"')) return false;
  while (at->here < at->end && *at->here != '"') at->here += *at->here == '\\' ? 2 : 1;
  return at->here < at->end && *at->here++ == '"';
}

// Over a value, with all that is in it.
static inline void vg_json_skip(vg_json *at) {
  size_t depth = 0;
  vg_json_space(at);
  while (at->here < at->end) {
    uint8_t byte = *at->here;
    if (byte == '"') {
      if (!vg_json_skip_text(at)) return;
      if (!depth) return;
      continue;
    }
    if (!depth && (byte == ',' || byte == '}' || byte == ']')) return;
    if (byte == '{' || byte == '[') depth++;
    if (byte == '}' || byte == ']') depth--;
    at->here++;
    if (!depth && (byte == '}' || byte == ']')) return;
  }
}

static inline unsigned vg_json_hex(vg_json *at) {
  unsigned value = 0;
  for (int i = 0; i < 4 && at->here < at->end; i++, at->here++) {
    uint8_t c = *at->here;
    value = value * 16 + (c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
  }
  return value;
}

static inline size_t vg_json_utf8(uint32_t c, uint8_t *out) {
  if (c < 0x80) return out[0] = (uint8_t)c, 1;
  if (c < 0x800) return out[0] = (uint8_t)(0xC0 | c >> 6), out[1] = (uint8_t)(0x80 | (c & 63)), 2;
  if (c < 0x10000) {
    return out[0] = (uint8_t)(0xE0 | c >> 12), out[1] = (uint8_t)(0x80 | (c >> 6 & 63)), out[2] = (uint8_t)(0x80 | (c & 63)), 3;
  }
  out[0] = (uint8_t)(0xF0 | c >> 18), out[1] = (uint8_t)(0x80 | (c >> 12 & 63));
  return out[2] = (uint8_t)(0x80 | (c >> 6 & 63)), out[3] = (uint8_t)(0x80 | (c & 63)), 4;
}

// What an escape after the backslash stands for.
static inline size_t vg_json_escape(vg_json *at, uint8_t *out) {
  uint8_t c = *at->here++;
  switch (c) {
    case 'b': return out[0] = '\b', 1;
    case 'f': return out[0] = '\f', 1;
    case 'n': return out[0] = '\n', 1;
    case 'r': return out[0] = '\r', 1;
    case 't': return out[0] = '\t', 1;
    case 'u': break;
    default: return out[0] = c, 1;
  }
  uint32_t code = vg_json_hex(at);
  if (code >= 0xD800 && code < 0xDC00 && at->end - at->here >= 6 && at->here[0] == '\\' && at->here[1] == 'u') {
    at->here += 2;
    code = 0x10000 + ((code - 0xD800) << 10) + (vg_json_hex(at) - 0xDC00);
  }
  return vg_json_utf8(code, out);
}

// A string's text, as a copy; false if the value is no string.
static inline bool vg_json_text(vg_json *at, policy_string_t *text) {
  if (!vg_json_takes(at, '"')) return false;
  // no escape is shorter than what it stands for
  uint8_t *out = malloc((size_t)(at->end - at->here) + 1);
  size_t len = 0;
  if (!out) abort();
  while (at->here < at->end && *at->here != '"') {
    if (*at->here != '\\') {
      out[len++] = *at->here++;
    } else if (++at->here < at->end) {
      len += vg_json_escape(at, out + len);
    }
  }
  *text = (policy_string_t){out, len};
  return true;
}

// A whole number that is not negative; false if the value is something else.
static inline bool vg_json_integer(vg_json *at, uint64_t *number) {
  const uint8_t *first = at->here;
  uint64_t value = 0;
  for (; at->here < at->end && *at->here >= '0' && *at->here <= '9'; at->here++) {
    if (value > (UINT64_MAX - 9) / 10) return false;
    value = value * 10 + (*at->here - '0');
  }
  bool whole = at->here > first && (at->here == at->end || (*at->here != '.' && (*at->here | 32) != 'e'));
  *number = value;
  return whole;
}

// The value of `key` in an object.
static inline vg_json vg_json_member(const uint8_t *json, size_t len, const char *key) {
  vg_json at = {json, json + len}, none = {NULL, NULL};
  if (!vg_json_takes(&at, '{')) return none;
  while (at.here < at.end) {
    vg_json_space(&at);
    const uint8_t *name = at.here;
    if (!vg_json_skip_text(&at)) return none;
    size_t wide = (size_t)(at.here - name);
    if (!vg_json_takes(&at, ':')) return none;
    vg_json_space(&at);
    if (wide == strlen(key) + 2 && !memcmp(name + 1, key, wide - 2)) return at;
    vg_json_skip(&at);
    if (!vg_json_takes(&at, ',')) return none;
  }
  return none;
}

#endif
