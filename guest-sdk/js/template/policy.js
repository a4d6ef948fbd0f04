// Each caller, named by a header, may do so many requests; one who insists is blocked for a while.
import { header, setHeader } from 'veilgate:policy/request@0.2.1';
import { Limiter } from 'veilgate:policy/limits@0.2.1';
import { Store } from 'veilgate:policy/kv@0.2.1';
import { goOn, integer, number, refuse, text } from './sdk/veilgate.js';

/** How long a refusal counts against its caller, in milliseconds. */
const REMEMBERED = 600_000;

// A policy keeps its configuration and nothing else: what must last is in the limiter and the store, which all instances share.
let config, limiter, refusals;

export const lifecycle = {
  // A thrown text refuses the configuration: `veilgate check` shows it.
  configure(json) {
    const given = JSON.parse(json);
    config = {
      header: text(given, 'header'),
      limit: integer(given, 'limit'),
      seconds: integer(given, 'seconds'),
      strikes: integer(given, 'strikes'),
    };
    const { limit, seconds } = config;
    limiter = Limiter.define('calls', { algorithm: 'gcra', limit, per: seconds * 1000, burst: limit });
    refusals = Store.open('refusals');
  },
};

export const requestHook = {
  onRequest() {
    const caller = header(config.header);
    if (!caller) {
      return refuse(401, 'no-caller', `say who you are: ${config.header}\n`);
    }
    const key = `${header('x-tenant') ?? 'default'}/${caller}`;
    if (number(refusals.get(key)) >= config.strikes) {
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
