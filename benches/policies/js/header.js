// Refuses requests that do not say for which tenant: one header, read.
import { header } from 'veilgate:policy/request@0.2.1';
import { goOn } from './sdk/veilgate.js';

export const lifecycle = { configure() {} };

export const requestHook = {
  onRequest() {
    if (header('x-tenant')) return goOn();
    return { ...goOn(), respond: { status: 400, headers: [], body: new Uint8Array() } };
  },
};
