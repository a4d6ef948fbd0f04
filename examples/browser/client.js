// The gateway's `/fhe/v1/` and the worker, as calls that end with a result or an error that says what to do.

const ROOT = "/fhe/v1";

export class Client {
  #worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  #calls = new Map();
  #next = 0;

  constructor() {
    this.#worker.onmessage = ({ data }) => this.#heard(data);
    this.#worker.onerror = (event) => {
      for (const call of this.#calls.values()) call.reject(new Error(`the worker failed: ${event.message}; reload the page`));
      this.#calls.clear();
    };
  }

  #heard({ call, progress, result, took, problem }) {
    const waiting = this.#calls.get(call);
    if (!waiting) return;
    if (progress !== undefined) return waiting.tell(progress);
    this.#calls.delete(call);
    if (problem !== undefined) waiting.reject(new Error(problem));
    else waiting.resolve({ result, took });
  }

  #work(operation, argument, tell = () => {}) {
    const call = this.#next++;
    return new Promise((resolve, reject) => {
      this.#calls.set(call, { resolve, reject, tell });
      this.#worker.postMessage({ call, operation, argument });
    });
  }

  /** Whether keys of the set `have` serve a program of the set `needed`: those that bootstrap serve sums too. */
  serves(have, needed) {
    return have === needed || needed.startsWith("linear-");
  }

  async programs() {
    return (await (await asked(`${ROOT}/programs`)).json()).programs;
  }

  async program(name) {
    const reply = await asked(`${ROOT}/programs/${encodeURIComponent(name)}`);
    const bytes = new Uint8Array(await reply.arrayBuffer());
    return { ...JSON.parse(new TextDecoder().decode(bytes)), bytes };
  }

  /** Keys of a set; `tell` hears of each step. The secret part stays in the worker. */
  async makeKeys(set, tell) {
    const { result, took } = await this.#work("makeKeys", { set }, tell);
    return { ...result, took };
  }

  /** Uploads the evaluation key; `tell` hears what share is sent, which `fetch` cannot say. */
  register(evaluationKey, tell) {
    return new Promise((resolve, reject) => {
      const upload = new XMLHttpRequest();
      upload.open("POST", `${ROOT}/keys`);
      upload.setRequestHeader("content-type", "application/octet-stream");
      upload.upload.onprogress = ({ loaded, total }) => tell(total > 0 ? loaded / total : 0);
      upload.onload = () =>
        upload.status === 200 || upload.status === 201 ? resolve() : reject(new Error(refusal(upload.status, upload.responseText)));
      upload.onerror = () => reject(new Error("the gateway cannot be reached; try again"));
      upload.send(evaluationKey);
    });
  }

  /** Encrypts, lets the gateway evaluate, decrypts. */
  async ask(program, input) {
    const encrypted = await this.#work("encrypt", { program: program.bytes, ...input });
    const { request } = encrypted.result;
    const sent = performance.now();
    const answer = await asked(`${ROOT}/programs/${encodeURIComponent(program.name)}/evaluate`, {
      method: "POST",
      headers: { "content-type": "application/octet-stream" },
      body: request,
    });
    const reply = new Uint8Array(await answer.arrayBuffer());
    const trip = performance.now() - sent;
    const decrypted = await this.#work("decrypt", { reply });
    const costs = { encrypt: encrypted.took, up: request.length, trip, down: reply.length, decrypt: decrypted.took };
    return { ...decrypted.result, costs, request };
  }
}

async function asked(path, options) {
  const reply = await fetch(path, options);
  if (!reply.ok) throw new Error(refusal(reply.status, await reply.text()));
  return reply;
}

/** What the gateway's problem document says, in its own words. */
function refusal(status, body) {
  try {
    const problem = JSON.parse(body);
    return `the gateway refused (${status}): ${problem.detail ?? problem.title ?? body}`;
  } catch {
    return `the gateway refused (${status}): ${body.slice(0, 200)}`;
  }
}
