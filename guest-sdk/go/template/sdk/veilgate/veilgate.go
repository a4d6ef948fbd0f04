// Package veilgate has what policies in Go share: decisions.
package veilgate

import (
	contract "policy/build/bindings/imports/veilgate_policy_types"
	"policy/sdk/wit/types"
)

// Decision is what a hook decides.
type Decision = contract.Decision

// Field is a header: name in lower case, value.
type Field = types.Tuple2[string, string]

// Header makes a field.
func Header(name, value string) Field {
	return Field{F0: name, F1: value}
}

// GoOn lets the request pass; this policy needs no later hook. The headers are set on whatever response the client gets.
func GoOn(responseHeaders ...Field) Decision {
	return Decision{Done: true, ResponseHeaders: responseHeaders}
}

// Refuse answers the request. The reason, a constant, stands in the access log and in the metrics.
func Refuse(status uint16, reason, message string, headers ...Field) Decision {
	headers = append(headers, Header("content-type", "text/plain; charset=utf-8"))
	response := contract.LocalResponse{Status: status, Headers: headers, Body: []byte(message)}
	return Decision{Respond: types.Some(response), Reason: types.Some(reason), Done: true}
}

// Configured is what lifecycle.Hook returns for an error, or for none.
func Configured(err error) types.Result[types.Unit, string] {
	if err != nil {
		return types.Err[types.Unit](err.Error())
	}
	return types.Ok[types.Unit, string](types.Unit{})
}
