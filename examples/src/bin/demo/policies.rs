//! Part 3: what each of the four policies does, seen from a client.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Failure;
use crate::site::Site;
use crate::summary::Summary;
use examples::client::{Connection, Reply, Version};

/// More than the rate limit of edge-configs/demo.toml lets through at once.
const BURST: usize = 200;
/// A breaker that has not opened after so many failures is broken itself.
const FAILURES_MAX: usize = 40;
/// How long the upstream may take to be found well again.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(30);

pub async fn show(site: &mut Site, summary: &mut Summary) -> Result<(), Failure> {
    let mut connection = site.client()?.connect(Version::H2).await?;
    routing(&mut connection, summary).await?;
    caching(&mut connection, summary).await?;
    rate_limit(&mut connection, summary).await?;
    circuit_breaker(site, &mut connection, summary).await
}

async fn routing(connection: &mut Connection, summary: &mut Summary) -> Result<(), Failure> {
    let usual = connection.get("/catalog/chair", &[]).await?;
    let beta = connection
        .get("/catalog/chair-beta", &[("x-beta", "yes")])
        .await?;
    let (usual, beta) = (served_by(&usual)?, served_by(&beta)?);
    println!(
        "   routing          without a header: upstream {usual:?}; with `x-beta: yes`: upstream {beta:?}"
    );
    Failure::unless(usual != beta, || format!("both requests went to {usual:?}"))?;
    summary.add("routing", format!("by header: {usual} / {beta}"));
    Ok(())
}

fn served_by(reply: &Reply) -> Result<String, Failure> {
    let name = reply.header("x-served-by").map(str::to_owned);
    name.ok_or_else(|| {
        Failure::new(format!(
            "the answer ({}) does not say who served it",
            reply.status
        ))
    })
}

async fn caching(connection: &mut Connection, summary: &mut Summary) -> Result<(), Failure> {
    let first = connection.get("/catalog/table", &[]).await?;
    let again = connection.get("/catalog/table", &[]).await?;
    let status = |reply: &Reply| reply.header("cache-status").unwrap_or("-").to_owned();
    println!(
        "   caching          first:  {}\n                    repeat: {}",
        status(&first),
        status(&again)
    );
    Failure::unless(status(&again).contains("hit"), || {
        "the repeat was not served from the cache".to_owned()
    })?;
    Failure::unless(first.body == again.body, || {
        "the cached answer differs from the first".to_owned()
    })?;
    summary.add("caching", status(&again));
    Ok(())
}

async fn rate_limit(connection: &mut Connection, summary: &mut Summary) -> Result<(), Failure> {
    let mut burst = JoinSet::new();
    for _ in 0..BURST {
        let mut shared = connection
            .share()
            .ok_or_else(|| Failure::new("HTTP/2 carries several requests"))?;
        burst.spawn(async move {
            shared
                .get("/catalog/table", &[("x-api-key", "burst")])
                .await
        });
    }
    let (mut passed, mut wait) = (0_usize, None);
    while let Some(reply) = burst.join_next().await {
        let reply = reply??;
        match reply.status {
            200 => passed += 1,
            429 => wait = reply.header("retry-after").map(str::to_owned).or(wait),
            other => {
                return Err(Failure::new(format!(
                    "a request of the burst was answered {other}"
                )));
            }
        }
    }
    Failure::unless(passed < BURST, || {
        format!("{BURST} requests at once, and none was refused")
    })?;
    let wait = wait.ok_or_else(|| Failure::new("the 429 has no Retry-After"))?;
    println!(
        "   rate limit       {BURST} requests at once: {passed} passed, {} were answered 429 (Retry-After: {wait} s)",
        BURST - passed
    );
    summary.add(
        "rate limit",
        format!("{passed} of {BURST} at once passed, then 429 with Retry-After: {wait}"),
    );
    Ok(())
}

async fn circuit_breaker(
    site: &mut Site,
    connection: &mut Connection,
    summary: &mut Summary,
) -> Result<(), Failure> {
    site.kill_upstream().await?;
    println!("   circuit breaker  the upstream is killed");
    let (failed, reply) = until_open(connection).await?;
    let wait = reply
        .header("retry-after")
        .ok_or_else(|| Failure::new("the breaker's 503 has no Retry-After"))?
        .to_owned();
    println!(
        "                    {failed} requests failed against it, then the breaker opened: 503 at once, Retry-After: {wait} s"
    );
    site.start_upstream().await?;
    let closed_after = until_closed(connection).await?;
    println!(
        "                    the upstream is back; the breaker closed {:.1} s later",
        closed_after.as_secs_f64()
    );
    summary.add(
        "circuit breaker",
        format!(
            "opened after {failed} failures, closed {:.1} s after the upstream returned",
            closed_after.as_secs_f64()
        ),
    );
    Ok(())
}

async fn until_open(connection: &mut Connection) -> Result<(usize, Reply), Failure> {
    for failed in 0..FAILURES_MAX {
        let reply = connection
            .get(&format!("/catalog/while-down-{failed}"), &[])
            .await?;
        match reply.status {
            503 if reply.text().contains("circuit") => return Ok((failed, reply)),
            502..=504 => {}
            other => {
                return Err(Failure::new(format!(
                    "a request to the killed upstream was answered {other}"
                )));
            }
        }
    }
    Err(Failure::new(format!(
        "the breaker did not open in {FAILURES_MAX} failing requests"
    )))
}

/// Closed again: several requests in a row pass.
async fn until_closed(connection: &mut Connection) -> Result<Duration, Failure> {
    let began = Instant::now();
    let mut passed = 0;
    while began.elapsed() < RECOVERY_TIMEOUT {
        let reply = connection
            .get(
                &format!("/catalog/back-{}", began.elapsed().as_micros()),
                &[],
            )
            .await?;
        passed = if reply.status == 200 { passed + 1 } else { 0 };
        if passed == 5 {
            return Ok(began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(Failure::new(format!(
        "the breaker was still open {} s after the upstream came back",
        RECOVERY_TIMEOUT.as_secs()
    )))
}
