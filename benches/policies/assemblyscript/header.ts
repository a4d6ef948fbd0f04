// Refuses requests that do not say for which tenant: one header, read.
import { Result, request, types } from "./build/bindings/policy";

export function configure(_config: string): Result<bool, string> {
  return Result.ofValue<bool, string>(true);
}

export function onRequest(): types.Decision {
  const decision = new types.Decision();
  decision.done = true;
  const tenant = request.header("x-tenant");
  if (tenant === null || tenant == "") {
    const response = new types.LocalResponse();
    response.status = 400;
    decision.respond = response;
  }
  return decision;
}
