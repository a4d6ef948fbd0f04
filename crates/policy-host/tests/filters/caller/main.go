// A filter on the proxy-wasm Go SDK: it reads its configuration, reads and adds header fields, counts ticks, and asks another service
// where a request wants that.
package main

import (
	"strconv"
	"strings"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

const noGrpcStatus = -1

func init() {
	proxywasm.SetVMContext(&vm{})
}

func main() {}

type vm struct {
	types.DefaultVMContext
}

func (*vm) NewPluginContext(uint32) types.PluginContext {
	return &plugin{}
}

type plugin struct {
	types.DefaultPluginContext
	tag      string
	upstream string
	ticks    int
}

// OnPluginStart reads lines such as `tag=a`.
func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	config, err := proxywasm.GetPluginConfiguration()
	if err != nil {
		proxywasm.LogCriticalf("no configuration: %v", err)
		return types.OnPluginStartStatusFailed
	}
	for _, line := range strings.Split(string(config), "\n") {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "tag":
			p.tag = value
		case "upstream":
			p.upstream = value
		default:
			proxywasm.LogCriticalf("unknown setting %q", key)
			return types.OnPluginStartStatusFailed
		}
	}
	if err := proxywasm.SetTickPeriodMilliSeconds(100); err != nil {
		proxywasm.LogCriticalf("no ticks: %v", err)
		return types.OnPluginStartStatusFailed
	}
	return types.OnPluginStartStatusOK
}

func (p *plugin) OnTick() {
	p.ticks++
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext {
	return &stream{plugin: p}
}

type stream struct {
	types.DefaultHttpContext
	plugin *plugin
}

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	path, err := proxywasm.GetHttpRequestHeader(":path")
	if err != nil {
		proxywasm.LogErrorf("no path: %v", err)
	}
	if err := proxywasm.AddHttpRequestHeader("x-go", s.plugin.tag+" "+path); err != nil {
		proxywasm.LogErrorf("no field: %v", err)
	}
	if _, err := proxywasm.GetHttpRequestHeader("x-ask"); err != nil {
		return types.ActionContinue
	}
	question := [][2]string{{":method", "GET"}, {":path", "/may" + path}, {":authority", s.plugin.upstream}}
	if _, err := proxywasm.DispatchHttpCall(s.plugin.upstream, question, nil, nil, 1000, answered); err != nil {
		proxywasm.LogErrorf("nobody to ask: %v", err)
		return types.ActionContinue
	}
	return types.ActionPause
}

func answered(_, bodySize, _ int) {
	body, err := proxywasm.GetHttpCallResponseBody(0, bodySize)
	if err == nil && string(body) == "yes" {
		_ = proxywasm.ResumeHttpRequest()
		return
	}
	if err := proxywasm.SendHttpResponse(403, [][2]string{{"x-said", "no"}}, body, noGrpcStatus); err != nil {
		proxywasm.LogErrorf("no answer: %v", err)
	}
}

func (s *stream) OnHttpResponseHeaders(int, bool) types.Action {
	if err := proxywasm.AddHttpResponseHeader("x-ticks", strconv.Itoa(s.plugin.ticks)); err != nil {
		proxywasm.LogErrorf("no field: %v", err)
	}
	return types.ActionContinue
}
