// What policies in AssemblyScript share: settings and decisions.
import { Tuple2, kv, types } from "../build/bindings/policy";
import { Json } from "./json";

/** The configuration. The first setting that cannot be used is in `problem`. */
export class Settings {
  problem: string = "";
  private json: Json;

  constructor(config: string) {
    this.json = new Json(config);
  }

  /** A text that is not empty. */
  text(key: string): string {
    const value = this.json.member(key) ? this.json.text() : null;
    if (value !== null && value != "") return value;
    return this.refused(key, "must be a text");
  }

  /** A whole number above zero. */
  integer(key: string): u64 {
    const value = this.json.member(key) ? this.json.integer() : 0;
    if (value == 0) this.refused(key, "must be a whole number above zero");
    return value;
  }

  private refused(key: string, problem: string): string {
    if (this.problem == "") this.problem = "`" + key + "` " + problem;
    return "";
  }
}

/** The number that a counter's entry in a store holds; 0 if there is none. */
export function number(entry: kv.Entry | null): u64 {
  return entry === null ? 0 : U64.parseInt(String.UTF8.decode(entry.value));
}

/** Goes on; this policy needs no later hook. */
export function goOn(): types.Decision {
  const decision = new types.Decision();
  decision.done = true;
  return decision;
}

/** Answers the request. `reason`, a constant, stands in the access log and in the metrics. */
export function refuse(status: u16, reason: string, message: string): types.Decision {
  const decision = goOn();
  const response = new types.LocalResponse();
  response.status = status;
  response.body = String.UTF8.encode(message);
  addField(response.headers, "content-type", "text/plain; charset=utf-8");
  decision.respond = response;
  decision.reason = reason;
  return decision;
}

export function addField(fields: Array<Tuple2<string, string>>, name: string, value: string): void {
  fields.push(new Tuple2<string, string>(name, value));
}
