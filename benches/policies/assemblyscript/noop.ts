// Lets every request pass: what a call costs by itself.
import { Result, types } from "./build/bindings/policy";

export function configure(_config: string): Result<bool, string> {
  return Result.ofValue<bool, string>(true);
}

export function onRequest(): types.Decision {
  const decision = new types.Decision();
  decision.done = true;
  return decision;
}
