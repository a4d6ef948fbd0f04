// Lets every request pass: what a call costs by itself.
package main

import (
	lifecycle "policy/build/bindings/exports/export_veilgate_policy_lifecycle"
	requesthook "policy/build/bindings/exports/export_veilgate_policy_request_hook"
	_ "policy/build/bindings/exports/wit_exports"
	"policy/sdk/veilgate"
	"policy/sdk/wit/types"
)

func init() {
	lifecycle.Hook = func(string) types.Result[types.Unit, string] { return veilgate.Configured(nil) }
	requesthook.Hook = onRequest
}

func main() {}

func onRequest() veilgate.Decision {
	return veilgate.GoOn()
}
