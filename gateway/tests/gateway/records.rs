//! Records: durable before the answer says so, once for each exchange, and honest when they cannot be kept.

use edge_types::{BatchNo, Epoch, Receipt};
use http::{Request, StatusCode};
use outbox::Outbox;
use veilgate::body::Body;

use crate::client::{Connection, Reply, fetch};
use crate::origin::Origin;
use crate::site::{ROUTE, Site, until};

pub const OUTBOX: &str = "[outbox]\ndir = \"outbox\"\nsite = \"test-site\"\nmin_free_bytes = 0\nquota_bytes = \"8MiB\"\n";

fn receipt(reply: &Reply) -> Option<Receipt> {
    reply
        .header("veilgate-record")
        .map(|header| Receipt::parse_header(header).expect("a receipt"))
}

/// Every record that is in the outbox, by sequence number.
pub async fn records(outbox: &Outbox) -> Vec<(u64, serde_json::Value)> {
    outbox.flush().await.expect("flushed");
    outbox.set_epoch(Epoch(1)).expect("an epoch");
    let sealed_through = outbox.status().last_seq;
    until("all is sealed", async || {
        outbox.seal_now();
        outbox.status().sealed_through >= sealed_through
    })
    .await;
    let mut all = Vec::new();
    for batch in outbox.pending_batches(BatchNo(0), 1000) {
        let (_, bytes) = outbox.read_batch(batch.no).await.expect("a batch");
        let decoded = sync_wire::verify(&bytes).expect("sound");
        for record in decoded.records() {
            all.push((
                record.seq.0,
                serde_json::from_slice(record.body).expect("JSON"),
            ));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_a_durable_route_names_its_record() {
    let (_, addr) = Origin::start().await;
    let site = Site::plain(addr, &format!("{ROUTE}record = \"durable\"\n{OUTBOX}")).await;
    let ok = fetch(site.addr, "/hello?secret=1").await;
    let failed = fetch(site.addr, "/drop").await;
    let outbox = site.running.outbox().expect("an outbox").clone();
    let found = records(&outbox).await;
    assert_eq!(found.len(), 2, "{found:?}");
    for (reply, status) in [(&ok, 200), (&failed, 502)] {
        let receipt = receipt(reply).expect("a record is named");
        assert_eq!(receipt.incarnation, outbox.incarnation().tag());
        let (_, record) = found
            .iter()
            .find(|(seq, _)| *seq == receipt.seq.0)
            .expect("the record is there");
        assert_eq!(record["status"], status);
        assert_eq!(record["id"].as_str(), reply.header("x-request-id"));
        assert_eq!(record["route"], "all");
        assert!(!record.to_string().contains("secret"), "{record}");
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_routes_are_recorded_once_or_not_at_all() {
    let (origin, addr) = Origin::start().await;
    let quiet = "[[route]]\nname = \"quiet\"\npath = \"/quiet\"\nupstream = \"origin\"\n";
    let site = Site::plain(addr, &format!("{ROUTE}record = \"lazy\"\n{quiet}{OUTBOX}")).await;
    let body = Body::full("12345");
    let reply = Connection::plain(site.addr)
        .await
        .send(Request::post("/echo").body(body).expect("a request"))
        .await;
    assert_eq!(receipt(&reply), None);
    assert_eq!(fetch(site.addr, "/quiet").await.status, StatusCode::OK);
    // A client that leaves in the middle of the answer, and one that leaves before there is one.
    let mut connection = Connection::plain(site.addr).await;
    drop(
        connection
            .head(
                Request::get("/endless")
                    .body(Body::empty())
                    .expect("a request"),
            )
            .await,
    );
    drop(connection);
    origin.given_up.notified().await;
    {
        use tokio::io::AsyncWriteExt;
        let mut stream = tokio::net::TcpStream::connect(site.addr)
            .await
            .expect("connected");
        stream
            .write_all(b"GET /silent HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .expect("sent");
        until("the origin was asked", async || origin.requests() == 4).await;
    }
    let outbox = site.running.outbox().expect("an outbox").clone();
    until("three exchanges are recorded", async || {
        outbox.status().last_seq.0 >= 3
    })
    .await;
    let found = records(&outbox).await;
    let told: Vec<(&str, u64, &str, u64, u64)> = found
        .iter()
        .map(|(_, record)| {
            let text = |key: &str| record[key].as_str().expect("text");
            let number = |key: &str| record[key].as_u64().expect("a number");
            (
                text("path"),
                number("status"),
                text("end"),
                number("req_bytes"),
                number("resp_bytes"),
            )
        })
        .collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told.contains(&("/echo", 200, "complete", 5, 5)), "{told:?}");
    assert!(
        told.iter()
            .any(|(path, status, end, ..)| (*path, *status, *end)
                == ("/endless", 200, "client_aborted")),
        "{told:?}"
    );
    assert!(
        told.contains(&("/silent", 499, "client_aborted", 0, 0)),
        "{told:?}"
    );
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_recorded_is_not_acknowledged() {
    let (origin, addr) = Origin::start().await;
    let lazy =
        "[[route]]\nname = \"lazy\"\npath = \"/lazy\"\nupstream = \"origin\"\nrecord = \"lazy\"\n";
    // More must stay free than any disk has.
    let full =
        "[outbox]\ndir = \"outbox\"\nsite = \"test-site\"\nmin_free_bytes = 1000000000000000000\n";
    let site = Site::plain(addr, &format!("{ROUTE}record = \"durable\"\n{lazy}{full}")).await;
    for _ in 0..2 {
        let reply = fetch(site.addr, "/").await;
        assert_eq!(
            reply.status,
            StatusCode::INSUFFICIENT_STORAGE,
            "{}",
            reply.text()
        );
        assert_eq!(receipt(&reply), None);
        assert!(reply.header("retry-after").is_some());
        assert_eq!(
            reply.header("content-type"),
            Some("application/problem+json")
        );
    }
    assert_eq!(
        origin.requests(),
        1,
        "once it is known to be full, the origin is not asked"
    );
    assert_eq!(
        fetch(site.addr, "/lazy").await.status,
        StatusCode::OK,
        "lazy routes go on"
    );
    let admin = site.admin();
    until("the lost record is counted", async || {
        fetch(admin, "/metrics")
            .await
            .text()
            .contains("gateway_records_dropped_total")
    })
    .await;
    site.stop().await;
}
