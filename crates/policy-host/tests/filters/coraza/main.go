// Coraza's firewall as a filter: all of it is Coraza's own. Its own main package sets the VM's context in main, which TinyGo runs at
// the start and Go's compiler never does for a library.
package main

import (
	"github.com/corazawaf/coraza-proxy-wasm/wasmplugin"
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm"
)

func init() {
	proxywasm.SetVMContext(wasmplugin.NewVMContext())
}

func main() {}
