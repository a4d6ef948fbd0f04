//! The filter for Envoy, and for Veilgate's own proxy-wasm adapter: reads one request header and adds two.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root));
}}

struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Filter))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Filter;

impl Context for Filter {}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let team = match self.get_http_request_header("x-api-key") {
            Some(key) if key == "bench" => "known",
            _ => "unknown",
        };
        self.set_http_request_header("x-team", Some(team));
        self.set_http_request_header("x-checked", Some("yes"));
        Action::Continue
    }
}
