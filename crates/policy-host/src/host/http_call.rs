//! `http-call`: requests of a policy's own, to the upstreams that the operator named for it. The gateway sends them; here they are
//! checked, counted and awaited.

use std::sync::Arc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use wasmtime::component::Resource;

use super::fields;
use crate::bindings::veilgate::policy::http_call::{Call, Host, HostPending, Reply};
use crate::bindings::veilgate::policy::types::Error;
use crate::services::{Later, OutboundCall, OutboundReply, ServiceError};
use crate::state::{HostState, unknown_handle};
use crate::waits::spend;

/// A request's body, and a reply's: documents, not downloads.
const MAX_BODY_BYTES: usize = 1 << 20;
/// A path with its query.
const MAX_PATH_BYTES: usize = 8 * 1024;

/// A request under way. Dropped, it is given up.
pub struct PendingCall {
    task: JoinHandle<Result<OutboundReply, ServiceError>>,
    done: bool,
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl From<ServiceError> for Error {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::NotFound => Error::NotFound,
            ServiceError::Limit => Error::Limit,
            ServiceError::Timeout => Error::Timeout,
            ServiceError::Unavailable => Error::Unavailable,
        }
    }
}

/// A request that may be sent, and its place among those in flight.
struct Admitted {
    sending: Later<OutboundReply>,
    place: OwnedSemaphorePermit,
}

impl HostState {
    fn admit(&mut self, call: Call) -> Result<Admitted, Error> {
        let shared = self.shared.clone();
        let waits = self.waits.as_deref_mut().ok_or(Error::Unavailable)?;
        if !waits.serving {
            return Err(Error::Unavailable);
        }
        if !shared.calls.contains(&call.upstream) {
            return Err(Error::Denied);
        }
        if !spend(&mut waits.calls_left) {
            return Err(Error::Limit);
        }
        let service = shared.services.calls.as_ref().ok_or(Error::Unavailable)?;
        let timeout = waits.timeout(call.timeout);
        let checked = checked(call, timeout)?;
        let place = shared.calls_in_flight.clone().try_acquire_owned();
        Ok(Admitted {
            place: place.map_err(|_| Error::Limit)?,
            sending: service.send(checked),
        })
    }

    fn count_call(&self, result: Result<(), Error>) {
        metrics::counter!("gateway_policy_calls_total",
            "policy" => self.shared.policy.to_string(), "result" => label(result))
        .increment(1);
    }
}

fn label(result: Result<(), Error>) -> &'static str {
    match result {
        Ok(()) => "ok",
        Err(Error::Denied) => "denied",
        Err(Error::NotFound) => "not_found",
        Err(Error::Limit) => "limit",
        Err(Error::Conflict) => "conflict",
        Err(Error::Timeout) => "timeout",
        Err(Error::Unavailable) => "unavailable",
        Err(Error::Invalid) => "invalid",
    }
}

fn checked(call: Call, timeout: std::time::Duration) -> Result<OutboundCall, Error> {
    if timeout.is_zero() {
        return Err(Error::Timeout);
    }
    if call.body.len() > MAX_BODY_BYTES || call.headers.len() > fields::MAX_FIELDS {
        return Err(Error::Limit);
    }
    let method = Method::from_bytes(call.method.as_bytes()).map_err(|_| Error::Invalid)?;
    if method == Method::CONNECT || !call.path.starts_with('/') || call.path.len() > MAX_PATH_BYTES
    {
        return Err(Error::Invalid);
    }
    let path_and_query = PathAndQuery::try_from(call.path).map_err(|_| Error::Invalid)?;
    let mut headers = HeaderMap::with_capacity(call.headers.len());
    for (name, value) in &call.headers {
        let (name, value) = fields::field(name, value.as_bytes()).ok_or(Error::Invalid)?;
        headers.append(name, value);
    }
    Ok(OutboundCall {
        upstream: call.upstream,
        method,
        path_and_query,
        headers,
        body: Bytes::from(call.body),
        timeout,
        max_reply_bytes: MAX_BODY_BYTES,
    })
}

fn reply(reply: OutboundReply) -> Reply {
    Reply {
        status: reply.status.as_u16(),
        headers: fields::list(&reply.headers),
        body: reply.body.to_vec(),
    }
}

/// Sends it on a task of the runtime's; its place is free again when it is over.
fn spawn(admitted: Admitted) -> JoinHandle<Result<OutboundReply, ServiceError>> {
    let Admitted { sending, place } = admitted;
    tokio::spawn(async move {
        let _place = place;
        sending.await
    })
}

impl Host for HostState {
    async fn send(&mut self, call: Call) -> wasmtime::Result<Result<Reply, Error>> {
        let answer = match self.admit(call) {
            Ok(Admitted { sending, place }) => {
                let answer = sending.await.map(reply).map_err(Error::from);
                drop(place);
                answer
            }
            Err(error) => Err(error),
        };
        self.count_call(answer.as_ref().map(|_| ()).map_err(|error| *error));
        Ok(answer)
    }

    fn start(&mut self, call: Call) -> wasmtime::Result<Result<Resource<PendingCall>, Error>> {
        let started = self.admit(call).and_then(|admitted| {
            let pending = PendingCall {
                task: spawn(admitted),
                done: false,
            };
            self.handles.push(pending).map_err(|_| Error::Limit)
        });
        if let Err(error) = &started {
            self.count_call(Err(*error));
        }
        Ok(started)
    }

    fn notify(&mut self, call: Call) -> wasmtime::Result<Result<(), Error>> {
        let policy: Arc<str> = self.shared.policy.clone();
        let noted = self.admit(call).map(|admitted| {
            let task = spawn(admitted);
            tokio::spawn(async move {
                let result = task.await.unwrap_or(Err(ServiceError::Unavailable));
                metrics::counter!("gateway_policy_calls_total", "policy" => policy.to_string(),
                    "result" => label(result.map(|_| ()).map_err(Error::from)))
                .increment(1);
            });
        });
        if let Err(error) = &noted {
            self.count_call(Err(*error));
        }
        Ok(noted)
    }
}

impl HostPending for HostState {
    /// A second wait for the same reply is `invalid`.
    async fn wait(
        &mut self,
        this: Resource<PendingCall>,
    ) -> wasmtime::Result<Result<Reply, Error>> {
        let pending = self.handles.get_mut(&this).map_err(|_| unknown_handle())?;
        if std::mem::replace(&mut pending.done, true) {
            return Ok(Err(Error::Invalid));
        }
        let joined = (&mut pending.task).await;
        let answer = joined
            .unwrap_or(Err(ServiceError::Unavailable))
            .map(reply)
            .map_err(Error::from);
        self.count_call(answer.as_ref().map(|_| ()).map_err(|error| *error));
        Ok(answer)
    }

    fn drop(&mut self, this: Resource<PendingCall>) -> wasmtime::Result<()> {
        self.handles
            .delete(this)
            .map(|_| ())
            .map_err(|_| unknown_handle())
    }
}
