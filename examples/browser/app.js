// The page: shows programs, asks the worker for arithmetic and the gateway for evaluations, and shows what came back.

import { Client } from "./client.js";

const at = (id) => document.getElementById(id);
const client = new Client();
let samples = {};
let program = null;
let keysOf = null;

const bytesSaid = (bytes) =>
  bytes < 10_000 ? `${bytes} bytes` : bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
const timeSaid = (ms) => (ms < 1000 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(1)} s`);

function element(name, text, attributes = {}) {
  const made = Object.assign(document.createElement(name), attributes);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Runs a step; what goes wrong is said on the page, and the button works again. */
async function step(button, work) {
  at("problem").hidden = true;
  button.disabled = true;
  try {
    return await work();
  } catch (error) {
    at("problem").textContent = error.message;
    at("problem").hidden = false;
    throw error;
  } finally {
    button.disabled = false;
    showState();
  }
}

function showState() {
  const ready = program !== null && keysOf !== null && client.serves(keysOf, program.params);
  at("ask").disabled = !ready;
  if (keysOf !== null && program !== null && !ready) {
    at("keys-state").textContent = `This program needs keys of another set (${program.params}): make them anew.`;
  }
}

async function choose(name) {
  program = await client.program(name);
  at("description").textContent = [program.description, program.bootstraps_per_row
    ? `${program.bootstraps_per_row} bootstraps a row.`
    : "Sums only: the keys are small."].filter(Boolean).join(" ");
  at("input-label").textContent = program.text ? `Text (${program.columns[0]})` : `Values: ${program.columns.join(", ")}`;
  const fitting = samples[name] ?? [];
  at("sample").replaceChildren(...fitting.map((text, index) => element("option", text.slice(0, 90), { value: index })));
  at("input").value = fitting[0] ?? "";
  at("result").hidden = true;
  showState();
}

async function makeKeys() {
  const bar = at("progress");
  bar.hidden = false;
  bar.removeAttribute("value");
  const tell = (text, share) => {
    at("keys-state").textContent = text;
    if (share !== undefined) bar.value = share;
  };
  try {
    const made = await client.makeKeys(program.params, (text) => tell(`${text}…`));
    await client.register(made.evaluationKey, (share) => tell("registering the evaluation key…", share));
    keysOf = program.params;
    tell(`Key ${made.id.slice(0, 16)}… registered: ${bytesSaid(made.evaluationKey.length)}, made in ${timeSaid(made.took)}.`);
    return made;
  } finally {
    bar.hidden = true;
  }
}

function rowOf(input) {
  const cells = input.split(/[,;\s]+/).filter(Boolean);
  const wanted = program.columns.length;
  if (cells.length !== wanted) throw new Error(`${cells.length} values; the program takes ${wanted}, with commas between them`);
  return cells.map((cell) => {
    const value = Number(cell);
    if (Number.isNaN(value)) throw new Error(`“${cell}” is no number`);
    return value;
  });
}

async function ask() {
  const input = at("input").value;
  const answer = await client.ask(program, program.text ? { text: input } : { row: rowOf(input) });
  show(answer);
  return answer;
}

function show({ label, scores, costs, request }) {
  at("label").textContent = label ?? scores.map((score) => score.linked.toFixed(4)).join(", ");
  at("scores").replaceChildren(...scores.map(({ name, value, linked }) => {
    const line = element("div", undefined, { className: "score" });
    const share = linked >= 0 && linked <= 1;
    const meter = share ? element("meter", "", { min: 0, max: 1, value: linked }) : element("span");
    line.append(element("span", name), meter, element("output", share ? `${(linked * 100).toFixed(1)} %` : value.toFixed(3)));
    return line;
  }));
  const said = [
    ["encrypted in", timeSaid(costs.encrypt)],
    ["sent", bytesSaid(costs.up)],
    ["there, computed and back in", timeSaid(costs.trip)],
    ["received", bytesSaid(costs.down)],
    ["decrypted in", timeSaid(costs.decrypt)],
  ];
  at("costs").replaceChildren(...said.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
  const hex = Array.from(request.subarray(0, 256), (byte) => byte.toString(16).padStart(2, "0"));
  at("seen").textContent = `${hex.join(" ")} …`;
  at("result").hidden = false;
}

/** `?run=PROGRAM`, for tests: does all of it by itself and reports what came out to the server that the page came from. */
async function run(name) {
  const report = { program: name };
  try {
    at("program").value = name;
    await choose(name);
    const made = await step(at("make"), makeKeys);
    Object.assign(report, { keyBytes: made.evaluationKey.length, keyMs: made.took, answers: [] });
    for (const text of samples[name] ?? []) {
      at("input").value = text;
      const { label, scores, costs } = await step(at("ask"), ask);
      report.answers.push({ input: text, label, scores, costs, shown: at("label").textContent });
    }
  } catch (error) {
    report.problem = error.message;
  }
  await fetch("report", { method: "POST", body: JSON.stringify(report) });
}

async function start() {
  const wanted = new URLSearchParams(location.search).get("run");
  if (wanted) {
    // Its answer comes when the report is there: until then the page counts as loading, and no screenshot is taken.
    document.body.append(element("img", undefined, { src: "held.svg", alt: "", hidden: true }));
  }
  samples = await (await fetch("samples.json")).json();
  const programs = await client.programs();
  at("program").replaceChildren(...programs.map(({ name }) => element("option", name, { value: name })));
  at("program").onchange = () => step(at("program"), () => choose(at("program").value)).catch(() => {});
  at("sample").onchange = () => { at("input").value = samples[program.name][at("sample").value]; };
  at("make").onclick = () => step(at("make"), makeKeys).catch(() => {});
  at("ask").onclick = () => step(at("ask"), ask).catch(() => {});
  if (wanted) return run(wanted);
  if (programs.length > 0) await choose(programs[0].name);
}

start().catch((error) => {
  at("problem").textContent = error.message;
  at("problem").hidden = false;
});
