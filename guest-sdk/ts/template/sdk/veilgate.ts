// What policies in TypeScript share: settings, decisions, and text as bytes (QuickJS has no TextEncoder).
import type { Entry } from 'veilgate:policy/kv@0.2.1';
import type { Decision, Field } from 'veilgate:policy/types@0.2.1';

function setting(config: unknown, key: string): unknown {
  return (config as Record<string, unknown> | null)?.[key];
}

/** The setting `key`, a text that is not empty. */
export function text(config: unknown, key: string): string {
  const value = setting(config, key);
  if (typeof value !== 'string' || value === '') throw `\`${key}\` must be a text`;
  return value;
}

/** The setting `key`, a whole number above zero. */
export function integer(config: unknown, key: string): number {
  const value = setting(config, key);
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1) {
    throw `\`${key}\` must be a whole number above zero`;
  }
  return value;
}

/** The number that a counter's entry in a store holds; 0 if there is none. */
export function number(entry: Entry | null): number {
  return entry ? Number(String.fromCharCode(...entry.value)) : 0;
}

/** Goes on; this policy needs no later hook. `responseHeaders` are set on whatever response the client gets. */
export function goOn(responseHeaders: Field[] = []): Decision {
  return { body: 'none', defer: false, done: true, responseHeaders };
}

/** Answers the request. `reason`, a constant, stands in the access log and in the metrics. */
export function refuse(status: number, reason: string, message: string, headers: Field[] = []): Decision {
  const all: Field[] = [['content-type', 'text/plain; charset=utf-8'], ...headers];
  return { ...goOn(), respond: { status, headers: all, body: utf8(message) }, reason };
}

/** The bytes of a text in UTF-8. */
export function utf8(text: string): Uint8Array {
  const bytes: number[] = [];
  for (const character of text) {
    const c = character.codePointAt(0) ?? 0;
    if (c < 0x80) bytes.push(c);
    else if (c < 0x800) bytes.push(0xc0 | (c >> 6), 0x80 | (c & 63));
    else if (c < 0x10000) bytes.push(0xe0 | (c >> 12), 0x80 | ((c >> 6) & 63), 0x80 | (c & 63));
    else bytes.push(0xf0 | (c >> 18), 0x80 | ((c >> 12) & 63), 0x80 | ((c >> 6) & 63), 0x80 | (c & 63));
  }
  return Uint8Array.from(bytes);
}
