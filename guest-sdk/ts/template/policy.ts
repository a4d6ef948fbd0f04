// Each caller, named by a header, may do so many requests; one who insists is blocked for a while.
import type { Lifecycle, RequestHook } from 'veilgate:hooks'; // made from wit/ when it is built: build/bindings/policy.d.ts
import { Store } from 'veilgate:policy/kv@0.2.1';
import { Limiter } from 'veilgate:policy/limits@0.2.1';
import { header, setHeader } from 'veilgate:policy/request@0.2.1';
import { goOn, integer, number, refuse, text } from './sdk/veilgate';

/** How long a refusal counts against its caller, in milliseconds. */
const REMEMBERED = 600_000;

interface Configured {
  header: string;
  strikes: number;
  limiter: Limiter;
  refusals: Store;
}

// A policy keeps its configuration and nothing else: what must last is in the limiter and the store, which all instances share.
let configured: Configured;

export const lifecycle: Lifecycle = {
  // A thrown text refuses the configuration: `veilgate check` shows it.
  configure(json) {
    const given: unknown = JSON.parse(json);
    const limit = integer(given, 'limit');
    const per = integer(given, 'seconds') * 1000;
    configured = {
      header: text(given, 'header'),
      strikes: integer(given, 'strikes'),
      limiter: Limiter.define('calls', { algorithm: 'gcra', limit, per, burst: limit }),
      refusals: Store.open('refusals'),
    };
  },
};

export const requestHook: RequestHook = {
  onRequest() {
    const { limiter, refusals, strikes } = configured;
    const caller = header(configured.header);
    if (!caller) {
      return refuse(401, 'no-caller', `say who you are: ${configured.header}\n`);
    }
    const key = `${header('x-tenant') ?? 'default'}/${caller}`;
    if (number(refusals.get(key)) >= strikes) {
      return refuse(403, 'blocked', 'blocked: too many requests over the limit\n');
    }
    const verdict = limiter.take(key, 1);
    if (!verdict.allowed) {
      refusals.incr(key, 1, REMEMBERED);
      const seconds = Math.ceil(verdict.retryAfter / 1000);
      return refuse(429, 'over-limit', 'over the limit\n', [['retry-after', String(seconds)]]);
    }
    setHeader('x-caller', key);
    return goOn([['x-remaining', String(verdict.remaining)]]);
  },
};
