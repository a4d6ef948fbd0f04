// Each caller, named by a header, may do so many requests; one who insists is blocked for a while.
import { Box, Result, kv, limits, request, types } from "./build/bindings/policy"; // made from wit/ when it is built
import { Settings, addField, goOn, number, refuse } from "./sdk/veilgate";

/** How long a refusal counts against its caller, in milliseconds. */
const REMEMBERED: u64 = 600_000;

// A policy keeps its configuration and nothing else: what must last is in the limiter and the store, which all instances share.
let header = "";
let strikes: u64 = 0;
let limiter: limits.Limiter | null = null;
let refusals: kv.Store | null = null;

/** An error refuses the configuration with its text: `veilgate check` shows it. */
export function configure(config: string): Result<bool, string> {
  const given = new Settings(config);
  header = given.text("header");
  strikes = given.integer("strikes");
  const spec = new limits.Spec();
  spec.algorithm = limits.Algorithm.Gcra;
  spec.limit = given.integer("limit");
  spec.per = given.integer("seconds") * 1000;
  spec.burst = spec.limit;
  if (given.problem != "") return Result.ofError<bool, string>(given.problem);
  const defined = limits.Limiter.define("calls", spec);
  const opened = kv.Store.open("refusals");
  if (!defined.isOk || !opened.isOk) {
    return Result.ofError<bool, string>("the gateway does not take this `limit` or `seconds`");
  }
  limiter = defined.unwrap();
  refusals = opened.unwrap();
  return Result.ofValue<bool, string>(true);
}

export function onRequest(): types.Decision {
  const caller = request.header(header);
  if (caller === null || caller == "") {
    return refuse(401, "no-caller", "say who you are: " + header + "\n");
  }
  const tenant = request.header("x-tenant");
  const key = (tenant === null ? "default" : tenant) + "/" + caller;
  if (number(refusals!.get(key)) >= strikes) {
    return refuse(403, "blocked", "blocked: too many requests over the limit\n");
  }
  const verdict = limiter!.take(key, 1);
  if (!verdict.allowed) {
    refusals!.incr(key, 1, new Box<u64>(REMEMBERED));
    const refused = refuse(429, "over-limit", "over the limit\n");
    addField(refused.respond!.headers, "retry-after", ((verdict.retryAfter + 999) / 1000).toString());
    return refused;
  }
  request.setHeader("x-caller", key);
  const passes = goOn();
  addField(passes.responseHeaders, "x-remaining", verdict.remaining.toString());
  return passes;
}
