//! One HTTP/1.1 or HTTP/2 connection over a stream, from its first byte to its end.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Common;
use super::watched::{Look, Watched, look};
use crate::body::Body;
use crate::drain::Phase;
use crate::exchange::Client;
use crate::pipeline;

/// What requests came on a connection so far.
const NONE: u8 = 0;
const H1: u8 = 1;
const H2: u8 = 2;

pub(super) async fn serve<I>(
    io: I,
    client: Arc<Client>,
    builder: &auto::Builder<TokioExecutor>,
    common: &Common,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let served = Arc::new(AtomicU8::new(NONE));
    let service = service_fn(|request: Request<Incoming>| {
        served.store(
            if request.version() == Version::HTTP_2 {
                H2
            } else {
                H1
            },
            Ordering::Relaxed,
        );
        let (gateway, client) = (common.gateway.clone(), client.clone());
        async move {
            Ok::<_, Infallible>(pipeline::serve(gateway, client, request.map(Body::incoming)).await)
        }
    });
    let io = TokioIo::new(Watched::new(io, client.clone()));
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut signal = common.signal.clone();
    let mut next_look = pin!(tokio::time::sleep(common.limits.header_timeout));
    let mut phase = Phase::Draining;
    let mut ending = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => return ended(result, &client),
            () = signal.reached(phase) => match phase {
                Phase::Running | Phase::Draining => {
                    connection.as_mut().graceful_shutdown();
                    (phase, ending) = (Phase::Cut, true);
                }
                Phase::Cut | Phase::Over => return,
            },
            () = next_look.as_mut() => {
                let before = served.load(Ordering::Relaxed);
                match look(client.activity.quiet(), before != NONE, before == H2, &common.limits) {
                    Look::Again(after) => next_look.as_mut().reset(tokio::time::Instant::now() + after),
                    Look::Idle if !ending => {
                        connection.as_mut().graceful_shutdown();
                        ending = true;
                        next_look.as_mut().reset(tokio::time::Instant::now() + common.limits.header_timeout);
                    }
                    // Told to end, and it did not: it is cut like one that is too slow.
                    Look::Idle | Look::TooSlow => {
                        metrics::counter!("gateway_connections_cut_total", "reason" => "slow").increment(1);
                        return;
                    }
                }
            }
        }
    }
}

fn ended(result: Result<(), Box<dyn std::error::Error + Send + Sync>>, client: &Client) {
    if let Err(error) = result {
        tracing::debug!(%error, client = %client.addr, "connection ended with an error");
    }
}
