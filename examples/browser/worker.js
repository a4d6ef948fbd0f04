// All arithmetic of the client, off the page's own thread: keys, encryption, decryption. The secret key never leaves this worker.

import init, { Asker, Secret } from "./fhe_web.js";

const ready = init({ module_or_path: new URL("fhe_web_bg.wasm", import.meta.url) });
let keys = null;
let asked = null;

const operations = {
  // The two steps of making keys, told one by one: the second takes seconds for sets that bootstrap.
  makeKeys({ set }, tell) {
    tell("making the secret key");
    const secret = Secret.generate(set);
    tell("making the evaluation key");
    const made = secret.evaluation_key();
    const evaluationKey = made.evaluation_key();
    keys?.free();
    keys = made.keys();
    made.free();
    return { id: keys.id(), evaluationKey };
  },

  encrypt({ program, text, row }) {
    if (!keys) throw new Error("there are no keys yet: make them first");
    asked?.pending.free();
    asked?.asker.free();
    const asker = new Asker(keys, program);
    const pending = text === undefined ? asker.encrypt_row(Float64Array.from(row)) : asker.encrypt_text(text);
    asked = { asker, pending };
    return { request: pending.bytes() };
  },

  decrypt({ reply }) {
    if (!asked) throw new Error("nothing was asked: encrypt first");
    return JSON.parse(asked.asker.decrypt(asked.pending, reply));
  },
};

self.onmessage = async ({ data: { call, operation, argument } }) => {
  const tell = (progress) => self.postMessage({ call, progress });
  try {
    await ready;
    const began = performance.now();
    const result = operations[operation](argument, tell);
    self.postMessage({ call, result, took: performance.now() - began });
  } catch (error) {
    self.postMessage({ call, problem: String(error?.message ?? error) });
  }
};
