//! Part 2: the same request over HTTP/1.1, HTTP/2 and HTTP/3, on one port number.

use crate::Failure;
use crate::site::Site;
use crate::summary::Summary;
use examples::client::Version;

pub async fn show(site: &Site, summary: &mut Summary) -> Result<(), Failure> {
    let client = site.client()?;
    for version in Version::ALL {
        let mut connection = client.connect(version).await?;
        let reply = connection.get("/catalog/lamp", &[]).await?;
        Failure::unless(reply.status == 200, || {
            format!("{version} answered {} to GET /catalog/lamp", reply.status)
        })?;
        let alt_svc = reply.header("alt-svc").unwrap_or("-");
        println!(
            "   {version:<9} {}  {:>5.1} ms  alt-svc: {alt_svc}",
            reply.status,
            reply.took.as_secs_f64() * 1e3
        );
    }
    let mut connection = client.connect(Version::H3).await?;
    let (events, spread) = connection.stream("/events").await?;
    println!(
        "   streamed  {events} events over HTTP/3, spread over {} ms: nothing is held back",
        spread.as_millis()
    );
    summary.add(
        "protocols",
        format!(
            "HTTP/1.1, HTTP/2, HTTP/3 on port {}",
            site.work.gateway.port()
        ),
    );
    Ok(())
}
