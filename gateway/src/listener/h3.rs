//! The QUIC side of a listener: connections, and a task per request.

use std::sync::Arc;

use http::Request;
use transport::h3server::{Connection, Endpoint, Incoming, Responder};
use transport::{PeerIdentity, RecvBody};

use super::Common;
use crate::body::Body;
use crate::drain::Phase;
use crate::exchange::Client;
use crate::pipeline;

/// Accepts until the drain begins, then waits for the connections that stand, until they are to be cut.
pub(super) async fn run(endpoint: Endpoint, common: Common) {
    let mut signal = common.signal.clone();
    loop {
        let incoming = tokio::select! {
            biased;
            () = signal.reached(Phase::Draining) => break,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { break };
        let Some(ticket) = common.connections.enter() else {
            metrics::counter!("gateway_connections_refused_total", "reason" => "limit")
                .increment(1);
            incoming.refuse();
            continue;
        };
        let common = common.clone();
        tokio::spawn(async move {
            let _ticket = ticket;
            serve_connection(incoming, common).await;
        });
    }
    endpoint.stop_accepting();
    tokio::select! {
        () = endpoint.wait_idle() => {}
        () = signal.reached(Phase::Cut) => {
            endpoint.close();
            endpoint.wait_idle().await;
        }
    }
}

async fn serve_connection(incoming: Incoming, common: Common) {
    let remote = incoming.remote();
    let mut connection = match incoming.handshake().await {
        Ok(connection) => connection,
        Err(error) => {
            tracing::debug!(%error, client = %remote, "QUIC handshake failed");
            metrics::counter!("gateway_tls_handshake_errors_total", "reason" => "quic")
                .increment(1);
            return;
        }
    };
    let client = Arc::new(client_of(&connection));
    let mut signal = common.signal.clone();
    let mut draining = false;
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = signal.reached(Phase::Draining), if !draining => {
                draining = true;
                if let Err(error) = connection.shutdown().await {
                    tracing::debug!(%error, client = %remote, "GOAWAY could not be sent");
                }
                continue;
            }
        };
        match accepted {
            Ok(Some((request, responder))) => {
                tokio::spawn(serve_request(
                    request,
                    responder,
                    client.clone(),
                    common.clone(),
                ));
            }
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, client = %remote, "connection ended with an error");
                return;
            }
        }
    }
}

async fn serve_request(
    request: Request<RecvBody>,
    mut responder: Responder,
    client: Arc<Client>,
    common: Common,
) {
    let serving = pipeline::serve(common.gateway, client, request.map(Body::wrap));
    let response = tokio::select! {
        biased;
        response = serving => response,
        // The exchange is dropped where it stands, and records that the client left.
        () = responder.client_gone() => return,
    };
    if let Err(error) = responder.send(response).await {
        tracing::debug!(%error, "a response was not sent to its end");
    }
}

fn client_of(connection: &Connection) -> Client {
    let mut client = Client::new(connection.remote(), true);
    client.sni = connection.sni().map(Arc::from);
    client.peer = connection.peer().and_then(name_of);
    client
}

/// The name that a client's certificate gives it: a DNS name, which is what is authorised by, else the common name.
pub(super) fn name_of(peer: &PeerIdentity) -> Option<Arc<str>> {
    let name = peer
        .dns_names()
        .first()
        .map(String::as_str)
        .or(peer.common_name())?;
    Some(Arc::from(name))
}
