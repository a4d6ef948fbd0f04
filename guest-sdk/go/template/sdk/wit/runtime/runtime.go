// Package runtime gives the gateway memory for what it passes to the policy: the generated bindings use it.
package runtime

import (
	goruntime "runtime"
	"unsafe"
)

// What the gateway wrote and the bindings have not read yet: nothing else refers to it.
var unread []unsafe.Pointer

// In words, so that all is aligned for any value of the contract.
func words(bytes uintptr) unsafe.Pointer {
	return unsafe.Pointer(unsafe.SliceData(make([]uint64, (bytes+7)/8+1)))
}

//go:wasmexport cabi_realloc
func cabiRealloc(old unsafe.Pointer, oldSize, _, size uint32) unsafe.Pointer {
	memory := words(uintptr(size))
	if old != nil {
		copy(unsafe.Slice((*byte)(memory), size), unsafe.Slice((*byte)(old), min(oldSize, size)))
	}
	unread = append(unread, memory)
	return memory
}

// Unpin forgets what was read: Go's own references keep it from here on.
func Unpin() {
	clear(unread)
	unread = unread[:0]
}

// Allocate makes room for what is passed to the gateway. The bindings call it before a call, when all of the last one's results are read.
func Allocate(pinner *goruntime.Pinner, size, _ uintptr) unsafe.Pointer {
	Unpin()
	memory := words(size)
	pinner.Pin(memory)
	return memory
}

// Handle is a resource of the gateway: a limiter, a store.
type Handle struct {
	value int32
}

func MakeHandle(value int32) *Handle { return &Handle{value} }

// Use is the handle for one call.
func (h *Handle) Use() int32 {
	if h.value == 0 {
		panic("a handle was used after it was given away")
	}
	return h.value
}

// Take is the handle, which is not this one's any more.
func (h *Handle) Take() int32 {
	value := h.Use()
	h.value = 0
	return value
}

// TakeOrNil is Take, or 0 if it was taken.
func (h *Handle) TakeOrNil() int32 {
	value := h.value
	h.value = 0
	return value
}

func (h *Handle) Set(value int32) { h.value = value }
