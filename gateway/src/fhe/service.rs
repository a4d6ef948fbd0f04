//! The seam to the pipeline: a route with `handler = "fhe"` ends here.

use std::future::Future;
use std::pin::Pin;

use http::{Request, Response};

use super::{FheOptions, FheService, Tenant};
use crate::body::Body;
use crate::config::FheConfig;
use crate::error::ProxyError;
use crate::pipeline::Service;

impl From<&FheConfig> for FheOptions {
    fn from(config: &FheConfig) -> Self {
        Self {
            keys_dir: config.keys_dir.clone(),
            programs_dir: config.programs_dir.clone(),
            key_cache_bytes: config.key_cache_bytes,
            key_store_bytes: config.key_store_bytes,
            max_request_bytes: config.max_request_bytes,
            batch_size: config.batch_size,
            batch_wait: config.batch_wait,
            max_queue: config.max_queue,
            threads: config.threads,
        }
    }
}

/// The tenant is what authentication left in the request's extensions; without any, all are one tenant.
impl Service for FheService {
    fn call(
        &self,
        request: Request<Body>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Body>, ProxyError>> + Send + '_>> {
        Box::pin(async move {
            let tenant = request
                .extensions()
                .get::<Tenant>()
                .cloned()
                .unwrap_or_default();
            let response = self.handle(request, &tenant).await;
            Ok(response.map(Body::full))
        })
    }
}
