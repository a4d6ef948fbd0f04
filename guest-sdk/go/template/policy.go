// Each caller, named by a header, may do so many requests; one who insists is blocked for a while.
package main

import (
	"encoding/json"
	"fmt"
	"strconv"

	// Made from wit/ when it is built. An interface that the world exports has a package with the variable Hook.
	lifecycle "policy/build/bindings/exports/export_veilgate_policy_lifecycle"
	requesthook "policy/build/bindings/exports/export_veilgate_policy_request_hook"
	_ "policy/build/bindings/exports/wit_exports"
	kv "policy/build/bindings/imports/veilgate_policy_kv"
	limits "policy/build/bindings/imports/veilgate_policy_limits"
	request "policy/build/bindings/imports/veilgate_policy_request"
	"policy/sdk/veilgate"
	"policy/sdk/wit/types"
)

// How long a refusal counts against its caller, in milliseconds.
const remembered = 600_000

type settings struct {
	Header  string `json:"header"`
	Limit   uint64 `json:"limit"`
	Seconds uint64 `json:"seconds"`
	Strikes uint64 `json:"strikes"`
}

// A policy keeps its configuration and nothing else: what must last is in the limiter and the store, which all instances share.
var (
	given    settings
	limiter  *limits.Limiter
	refusals *kv.Store
)

func init() {
	lifecycle.Hook = func(config string) types.Result[types.Unit, string] { return veilgate.Configured(configure(config)) }
	requesthook.Hook = onRequest
}

func main() {}

// configure gets the settings; an error refuses them, and `veilgate check` shows it.
func configure(config string) error {
	if err := json.Unmarshal([]byte(config), &given); err != nil {
		return err
	}
	if given.Header == "" {
		return fmt.Errorf("`header` must be a text")
	}
	if given.Limit == 0 || given.Seconds == 0 || given.Strikes == 0 {
		return fmt.Errorf("`limit`, `seconds` and `strikes` must be whole numbers above zero")
	}
	spec := limits.Spec{Algorithm: limits.Algorithm_Gcra, Limit: given.Limit, Per: given.Seconds * 1000, Burst: given.Limit}
	defined := limits.LimiterDefine("calls", spec)
	opened := kv.StoreOpen("refusals")
	if defined.IsErr() || opened.IsErr() {
		return fmt.Errorf("the gateway does not take this `limit` or `seconds`")
	}
	limiter, refusals = defined.Ok(), opened.Ok()
	return nil
}

func onRequest() veilgate.Decision {
	caller := request.Header(given.Header).SomeOr("")
	if caller == "" {
		return veilgate.Refuse(401, "no-caller", "say who you are: "+given.Header+"\n")
	}
	key := request.Header("x-tenant").SomeOr("default") + "/" + caller
	if strikes(key) >= given.Strikes {
		return veilgate.Refuse(403, "blocked", "blocked: too many requests over the limit\n")
	}
	verdict := limiter.Take(key, 1)
	if !verdict.Allowed {
		refusals.Incr(key, 1, types.Some[uint64](remembered))
		seconds := strconv.FormatUint((verdict.RetryAfter+999)/1000, 10)
		return veilgate.Refuse(429, "over-limit", "over the limit\n", veilgate.Header("retry-after", seconds))
	}
	request.SetHeader("x-caller", key)
	return veilgate.GoOn(veilgate.Header("x-remaining", strconv.FormatUint(verdict.Remaining, 10)))
}

func strikes(key string) uint64 {
	entry := refusals.Get(key)
	if entry.IsNone() {
		return 0
	}
	count, _ := strconv.ParseUint(string(entry.Some().Value), 10, 64)
	return count
}
