//! `/fhe/programs` of the admin listener: PUT installs a program, GET lists them, DELETE removes one or a version of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{Outlook, typed};

const PATH: &str = "/fhe/programs";
/// The largest program file, and a little: what is over is told from it by the program's own reader.
const MAX_BODY_BYTES: usize = (4 << 20) + 1;
/// From an operator on this machine or next to it.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What can be done with programs while the gateway runs. Each blocks; an answer is a status and JSON.
pub trait ProgramDesk: Send + Sync {
    fn list(&self) -> Value;
    /// `is_replacing`: in place of another program of the same name and version.
    fn install(&self, program: &[u8], is_replacing: bool) -> (StatusCode, Value);
    /// One version, or all of them.
    fn remove(&self, name: &str, version: Option<u32>) -> (StatusCode, Value);
}

enum Order {
    List,
    Install { program: Bytes, is_replacing: bool },
    Remove { name: String, version: Option<u32> },
}

pub(super) fn is_here(path: &str) -> bool {
    path.strip_prefix(PATH)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub(super) async fn answer(
    request: Request<Incoming>,
    outlook: Arc<dyn Outlook>,
) -> Response<Full<Bytes>> {
    let order = match order(request).await {
        Ok(order) => order,
        Err((status, error)) => return told(status, &json!({ "error": error })),
    };
    let done = tokio::task::spawn_blocking(move || {
        let Some(desk) = outlook.programs() else {
            let error = "this gateway has no [fhe]";
            return (StatusCode::NOT_FOUND, json!({ "error": error }));
        };
        match order {
            Order::List => (StatusCode::OK, desk.list()),
            Order::Install {
                program,
                is_replacing,
            } => desk.install(&program, is_replacing),
            Order::Remove { name, version } => desk.remove(&name, version),
        }
    });
    match done.await {
        Ok((status, value)) => told(status, &value),
        Err(error) => {
            tracing::error!(%error, "an order about programs failed");
            let error = "it failed inside the gateway; its log says why";
            told(
                StatusCode::INTERNAL_SERVER_ERROR,
                &json!({ "error": error }),
            )
        }
    }
}

async fn order(request: Request<Incoming>) -> Result<Order, (StatusCode, String)> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path[PATH.len()..].split('/').skip(1).collect();
    match (request.method(), parts.as_slice()) {
        (&Method::GET, []) => Ok(Order::List),
        (&Method::PUT, []) => {
            let is_replacing = match request.uri().query() {
                None => false,
                Some("replace") => true,
                Some(_) => {
                    let error = "the only thing that can be asked for is ?replace".to_owned();
                    return Err((StatusCode::BAD_REQUEST, error));
                }
            };
            let body = Limited::new(request.into_body(), MAX_BODY_BYTES).collect();
            match tokio::time::timeout(BODY_TIMEOUT, body).await {
                Ok(Ok(body)) => Ok(Order::Install {
                    program: body.to_bytes(),
                    is_replacing,
                }),
                Ok(Err(error)) => Err((
                    StatusCode::BAD_REQUEST,
                    format!("the program did not arrive whole, or is larger than 4 MiB: {error}"),
                )),
                Err(_) => Err((
                    StatusCode::REQUEST_TIMEOUT,
                    "the program did not arrive in time".to_owned(),
                )),
            }
        }
        (&Method::DELETE, [name, version @ ..]) if version.len() <= 1 => {
            let version = match version.first().map(|version| version.parse()) {
                None => None,
                Some(Ok(version)) => Some(version),
                Some(Err(_)) => {
                    let error = "a version is a whole number".to_owned();
                    return Err((StatusCode::BAD_REQUEST, error));
                }
            };
            Ok(Order::Remove {
                name: (*name).to_owned(),
                version,
            })
        }
        _ => Err((
            StatusCode::METHOD_NOT_ALLOWED,
            "there is GET and PUT /fhe/programs, and DELETE /fhe/programs/NAME[/VERSION]"
                .to_owned(),
        )),
    }
}

fn told(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut response = typed(status, "application/json", format!("{value:#}\n"));
    *response.status_mut() = status;
    response
}
