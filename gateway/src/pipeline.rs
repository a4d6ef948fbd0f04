//! The trip of one exchange, stage by stage: read `serve` and `trip` first.
//!
//! Invariants: every exchange is recorded exactly once, whatever happened to it (`record::Account` sees to it when dropped); errors
//! become responses in `respond` alone; bodies stream through, none is held whole unless a policy asked for it, under its limit; a
//! request ends on the chain of policies it began with.

mod bodies;
mod dispatch;
mod ending;
mod gateway;
mod held;
mod matching;
mod normalize;
mod passing;
mod policy;
mod record;
mod respond;
mod usage;

use std::sync::Arc;

use http::{Request, Response};

use crate::body::Body;
use crate::cache::Fill;
use crate::error::ProxyError;
use crate::exchange::{Client, Source};

pub use gateway::{Gateway, Parts, Service};
pub use matching::{Route, Routes};
pub use record::{Append, RecordSink};

/// A response on its way back, and where it came from.
struct Answer {
    response: Response<Body>,
    source: Source,
    /// The cache wants it, once the policies have seen it.
    fill: Option<Fill>,
}

impl Answer {
    fn new(response: Response<Body>, source: Source) -> Self {
        Self {
            response,
            source,
            fill: None,
        }
    }
}

/// What the policies made of a request.
#[expect(
    clippy::large_enum_variant,
    reason = "lives for one match on the stack; a box would cost every local answer an allocation"
)]
enum Next {
    /// They answer it themselves.
    Answer(Answer),
    /// It goes on with this body.
    Forward(Body),
}

/// One exchange, from the request's head to the response's; the bodies stream on after it.
pub async fn serve(
    gateway: Arc<Gateway>,
    client: Arc<Client>,
    request: Request<Body>,
) -> Response<Body> {
    let (mut account, request) = record::Account::open(gateway.clone(), client.clone(), request);
    let answer = match trip(&gateway, &client, &mut account, request).await {
        Ok(answer) => answer,
        Err(error) => respond::with_error(&mut account, error),
    };
    let answer = respond::complete(&gateway, &client, &mut account, answer);
    // A durable route's answer leaves only after its record is on disk; the account of the others is closed when the body ends.
    let answer = match record::before_head(&mut account, answer).await {
        Ok(answer) => answer,
        Err(error) => {
            let answer = respond::with_error(&mut account, error);
            respond::complete(&gateway, &client, &mut account, answer)
        }
    };
    account.follow(answer)
}

async fn trip(
    gateway: &Arc<Gateway>,
    client: &Arc<Client>,
    account: &mut record::Account,
    request: Request<Body>,
) -> Result<Answer, ProxyError> {
    let (head, body) = normalize::request(gateway, client, account, request)?;
    let route = gateway.routes().find(&head)?;
    let body = account.matched(&route, body)?;
    let mut stage = policy::Stage::begin(gateway, client, account, route, head, !body.is_empty());
    let answer = match answer(&mut stage, body).await {
        Ok(answer) => answer,
        Err(error) => stage.answer_of_watcher().ok_or(error)?,
    };
    let answer = stage.on_response(answer).await?;
    stage.on_response_body(answer).await
}

/// From the policies, or from whom they let it be asked.
async fn answer(stage: &mut policy::Stage<'_>, body: Body) -> Result<Answer, ProxyError> {
    if let Some(answer) = stage.on_request().await? {
        return Ok(answer);
    }
    match stage.on_request_body(body).await? {
        Next::Answer(answer) => Ok(answer),
        Next::Forward(body) => dispatch::run(stage, body).await,
    }
}
