// Package types has the values of the contract that Go has no words for: the generated bindings use them.
package types

// Unit is no value.
type Unit struct{}

const (
	OptionNone uint8 = 0
	OptionSome uint8 = 1
	ResultOk   uint8 = 0
	ResultErr  uint8 = 1
)

// Option is a value or none; the zero Option is none.
type Option[T any] struct {
	there bool
	value T
}

func Some[T any](value T) Option[T] { return Option[T]{there: true, value: value} }

func None[T any]() Option[T] { return Option[T]{} }

func (o Option[T]) Tag() uint8 {
	if o.there {
		return OptionSome
	}
	return OptionNone
}

func (o Option[T]) IsSome() bool { return o.there }

func (o Option[T]) IsNone() bool { return !o.there }

// Some is the value; without one it panics.
func (o Option[T]) Some() T {
	if !o.there {
		panic("an option without a value was read")
	}
	return o.value
}

// SomeOr is the value, or this one.
func (o Option[T]) SomeOr(other T) T {
	if o.there {
		return o.value
	}
	return other
}

// Result is a value or an error.
type Result[T, E any] struct {
	failed bool
	value  T
	err    E
}

func Ok[T, E any](value T) Result[T, E] { return Result[T, E]{value: value} }

func Err[T, E any](err E) Result[T, E] { return Result[T, E]{failed: true, err: err} }

func (r Result[T, E]) Tag() uint8 {
	if r.failed {
		return ResultErr
	}
	return ResultOk
}

func (r Result[T, E]) IsOk() bool { return !r.failed }

func (r Result[T, E]) IsErr() bool { return r.failed }

// Ok is the value; of an error it panics.
func (r Result[T, E]) Ok() T {
	if r.failed {
		panic("a result that is an error was read as a value")
	}
	return r.value
}

// Err is the error; of a value it panics.
func (r Result[T, E]) Err() E {
	if !r.failed {
		panic("a result that is a value was read as an error")
	}
	return r.err
}

// Tuple2 is a pair: a header's name and value, say.
type Tuple2[A, B any] struct {
	F0 A
	F1 B
}

type Tuple3[A, B, C any] struct {
	F0 A
	F1 B
	F2 C
}
