// Refuses requests that do not say for which tenant: one header, read.
package main

import (
	lifecycle "policy/build/bindings/exports/export_veilgate_policy_lifecycle"
	requesthook "policy/build/bindings/exports/export_veilgate_policy_request_hook"
	_ "policy/build/bindings/exports/wit_exports"
	request "policy/build/bindings/imports/veilgate_policy_request"
	contract "policy/build/bindings/imports/veilgate_policy_types"
	"policy/sdk/veilgate"
	"policy/sdk/wit/types"
)

func init() {
	lifecycle.Hook = func(string) types.Result[types.Unit, string] { return veilgate.Configured(nil) }
	requesthook.Hook = onRequest
}

func main() {}

func onRequest() veilgate.Decision {
	decision := veilgate.GoOn()
	if request.Header("x-tenant").SomeOr("") == "" {
		decision.Respond = types.Some(contract.LocalResponse{Status: 400})
	}
	return decision
}
