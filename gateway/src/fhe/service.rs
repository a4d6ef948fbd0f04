//! The seam to the pipeline: a route with `handler = "fhe"` ends here.

use std::future::Future;
use std::pin::Pin;

use http::{Request, Response, header};
use kernels::survey::Wanted;

use super::{FheOptions, FheService, Tenant, TenantSettings, TokenSource};
use crate::admin::ProgramDesk;
use crate::body::Body;
use crate::config::{FheConfig, FheDevices, FheQuotas, FheTenantConfig, FheToken};
use crate::error::ProxyError;
use crate::pipeline::Service;

impl From<&FheConfig> for FheOptions {
    fn from(config: &FheConfig) -> Self {
        Self {
            keys_dir: config.keys_dir.clone(),
            programs_dir: config.programs_dir.clone(),
            jobs_dir: config.jobs_dir.clone(),
            job_ttl: config.job_ttl,
            job_store_bytes: config.job_store_bytes,
            counters_dir: config.counters_dir.clone(),
            max_streams: config.max_streams,
            key_cache_bytes: config.key_cache_bytes,
            key_store_bytes: config.key_store_bytes,
            program_memory_bytes: config.program_memory_bytes,
            max_request_bytes: config.max_request_bytes,
            batch_size: config.batch_size,
            batch_wait: config.batch_wait,
            batch_time: config.batch_time,
            max_queue: config.max_queue,
            max_tenant_queue: config.max_tenant_queue,
            queue_bytes: config.queue_bytes,
            max_wait: config.max_wait,
            threads: config.threads,
            devices: match config.devices {
                FheDevices::Best => Wanted::Best,
                FheDevices::Cpu => Wanted::Cpu,
                FheDevices::Cuda => Wanted::Cuda,
                FheDevices::Wgpu => Wanted::Wgpu,
            },
            device_key_memory: config.device_key_memory,
            key_ttl: config.key_ttl,
            rotation_grace: config.rotation_grace,
            prewarm: config.prewarm,
            anonymous: config.anonymous,
            tenant_defaults: settings(&config.tenant_defaults),
            tenants: config.tenants.iter().filter_map(tenant).collect(),
            nice: config.nice,
        }
    }
}

fn settings(config: &FheQuotas) -> TenantSettings {
    TenantSettings {
        max_keys: config.max_keys,
        max_key_bytes: config.max_key_bytes,
        priority: config.priority,
    }
}

/// A name that is none was refused when the config was checked.
fn tenant(config: &FheTenantConfig) -> Option<(Tenant, Vec<TokenSource>)> {
    let tenant: Tenant = config.name.parse().ok()?;
    let source = |token: &FheToken| match token {
        FheToken::Hash(text) => text.parse().ok().map(TokenSource::Hash),
        FheToken::File(path) => Some(TokenSource::File(path.clone())),
    };
    let tokens = config.tokens.iter().filter_map(source).collect();
    Some((tenant.with_settings(settings(&config.quotas)), tokens))
}

/// Whom the certificate names is in the request's extensions; the tenant that it came to is in the response's.
impl Service for FheService {
    fn call(
        &self,
        mut request: Request<Body>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Body>, ProxyError>> + Send + '_>> {
        Box::pin(async move {
            let certified = request.extensions().get::<Tenant>().cloned();
            let tenant = self.tenants.identify(certified, request.headers());
            // Read once, and nowhere else.
            request.headers_mut().remove(header::AUTHORIZATION);
            let response = match tenant {
                Ok(tenant) => {
                    let mut response = self.handle(request, &tenant).await;
                    response.extensions_mut().insert(tenant);
                    response
                }
                Err(problem) => problem.into_response(),
            };
            Ok(response.map(Body::full))
        })
    }

    fn owns_authorization(&self) -> bool {
        self.tenants.have_tokens()
    }

    fn programs(&self) -> Option<&dyn ProgramDesk> {
        Some(self)
    }
}
