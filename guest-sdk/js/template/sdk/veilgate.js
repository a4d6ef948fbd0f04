// What policies in JavaScript share: settings, decisions, and text as bytes (QuickJS has no TextEncoder).

/** The setting `key`, a text that is not empty. */
export function text(config, key) {
  const value = config?.[key];
  if (typeof value !== 'string' || value === '') throw `\`${key}\` must be a text`;
  return value;
}

/** The setting `key`, a whole number above zero. */
export function integer(config, key) {
  const value = config?.[key];
  if (!Number.isSafeInteger(value) || value < 1) throw `\`${key}\` must be a whole number above zero`;
  return value;
}

/** The number that a counter's entry in a store holds; 0 if there is none. */
export function number(entry) {
  return entry ? Number(String.fromCharCode(...entry.value)) : 0;
}

/** Goes on; this policy needs no later hook. `responseHeaders` are set on whatever response the client gets. */
export function goOn(responseHeaders = []) {
  return { body: 'none', defer: false, done: true, responseHeaders };
}

/** Answers the request. `reason`, a constant, stands in the access log and in the metrics. */
export function refuse(status, reason, message, headers = []) {
  const respond = { status, headers: [['content-type', 'text/plain; charset=utf-8'], ...headers], body: utf8(message) };
  return { respond, body: 'none', defer: false, done: true, reason, responseHeaders: [] };
}

/** The bytes of a text in UTF-8. */
export function utf8(text) {
  const bytes = [];
  for (const character of text) {
    const c = character.codePointAt(0);
    if (c < 0x80) bytes.push(c);
    else if (c < 0x800) bytes.push(0xc0 | (c >> 6), 0x80 | (c & 63));
    else if (c < 0x10000) bytes.push(0xe0 | (c >> 12), 0x80 | ((c >> 6) & 63), 0x80 | (c & 63));
    else bytes.push(0xf0 | (c >> 18), 0x80 | ((c >> 12) & 63), 0x80 | ((c >> 6) & 63), 0x80 | (c & 63));
  }
  return Uint8Array.from(bytes);
}
