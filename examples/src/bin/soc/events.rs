//! The events: so many under way at once, each timed from its encryption to its label, and what they come to together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use examples::client::{Client, Connection, Error, Version};
use examples::rows::Table;
use tokio::task::JoinSet;

use crate::sensor::{Judged, Sensor};

const ATTACK: &str = "attack";
/// Events that are shown.
const SHOWN: usize = 6;

#[derive(Default)]
pub struct Tally {
    took: Vec<Duration>,
    wall: Duration,
    right: usize,
    normal: usize,
    false_alarms: usize,
    differ: usize,
}

/// Sends the flows in their order, each when one before it is judged.
pub async fn send(
    sensor: &Arc<Sensor>,
    client: &Client,
    flows: Table,
    in_flight: usize,
) -> Result<Tally, Error> {
    let connection = client.connect(Version::H3).await?;
    let flows = Arc::new(flows);
    if let Some(flow) = flows.rows.first() {
        first(sensor, &connection, flow).await?;
    }
    let mut tally = Tally::default();
    let mut under_way = JoinSet::new();
    let began = Instant::now();
    println!(
        "   {:>5}  {:<9} {:<7} {:<9} {:>8}",
        "flow", "decrypted", "score", "truth", "took"
    );
    for number in 0..flows.rows.len() {
        if under_way.len() >= in_flight
            && let Some(done) = under_way.join_next().await
        {
            tally.add(done??, &flows);
        }
        let mut shared = shared(&connection)?;
        let (sensor, flows) = (Arc::clone(sensor), Arc::clone(&flows));
        under_way.spawn(async move {
            let began = Instant::now();
            let judged = sensor.judge(&mut shared, &flows.rows[number]).await?;
            Ok::<_, Error>((number, judged, began.elapsed()))
        });
    }
    while let Some(done) = under_way.join_next().await {
        tally.add(done??, &flows);
    }
    tally.wall = began.elapsed();
    tally.took.sort_unstable();
    println!("   … {} in all", tally.took.len());
    Ok(tally)
}

/// One that does not count: the gateway may still be making the registered key ready, once.
async fn first(sensor: &Sensor, connection: &Connection, flow: &[f64]) -> Result<(), Error> {
    let began = Instant::now();
    sensor.judge(&mut shared(connection)?, flow).await?;
    println!(
        "   the first waits until the gateway has made the key ready: {} ms, not counted",
        began.elapsed().as_millis()
    );
    Ok(())
}

fn shared(connection: &Connection) -> Result<Connection, Error> {
    let shared = connection.share();
    shared.ok_or_else(|| Error::new("HTTP/3 carries several requests at once"))
}

impl Tally {
    fn add(&mut self, (number, judged, took): (usize, Judged, Duration), flows: &Table) {
        let truth = flows.labels[number].as_str();
        if self.took.len() < SHOWN {
            println!(
                "   {:>5}  {:<9} {:<7.3} {:<9} {:>5} ms",
                number + 1,
                judged.label,
                judged.score,
                truth,
                took.as_millis()
            );
        }
        self.took.push(took);
        self.right += usize::from(judged.label == truth);
        self.differ += usize::from(judged.label != judged.clear);
        if truth != ATTACK {
            self.normal += 1;
            self.false_alarms += usize::from(judged.label == ATTACK);
        }
    }

    fn quantile(&self, quantile: f64) -> Duration {
        let last = self.took.len().saturating_sub(1);
        let at = (self.took.len() as f64 * quantile) as usize;
        self.took.get(at.min(last)).copied().unwrap_or_default()
    }

    fn accuracy(&self) -> f64 {
        self.right as f64 / self.took.len().max(1) as f64
    }

    fn false_positives(&self) -> f64 {
        self.false_alarms as f64 / self.normal.max(1) as f64
    }

    pub fn print(&self) {
        let per_hour = self.took.len() as f64 / self.wall.as_secs_f64().max(1e-9) * 3600.0;
        let ms = |quantile| self.quantile(quantile).as_millis();
        println!("\nSummary");
        println!("  events           {per_hour:.0} an hour at this rate (wanted: more than 1000)");
        println!(
            "  latency          p50 {} ms, p95 {} ms, slowest {} ms (wanted: under 2000)",
            ms(0.5),
            ms(0.95),
            ms(1.0)
        );
        println!(
            "  accuracy         {:.1} % of {} (wanted: above 90)",
            self.accuracy() * 100.0,
            self.took.len()
        );
        println!(
            "  false positives  {:.1} % of {} normal flows (wanted: under 5)",
            self.false_positives() * 100.0,
            self.normal
        );
        println!(
            "  labels           {} differ from the program's in the clear",
            self.differ
        );
    }

    /// What depends on the program alone, and not on this machine's speed, has to hold.
    pub fn verdict(&self) -> Result<(), Error> {
        if self.differ > 0 {
            return Err(Error::new(format!(
                "{} labels differ between encrypted and clear",
                self.differ
            )));
        }
        if self.accuracy() <= 0.9 || self.false_positives() >= 0.05 {
            return Err(Error::new("the model is not as good as it is said to be"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(flows: &[(&str, &str, &str)]) -> Tally {
        let table = Table {
            rows: Vec::new(),
            labels: flows
                .iter()
                .map(|(_, _, truth)| (*truth).to_owned())
                .collect(),
        };
        let mut tally = Tally::default();
        for (number, (label, clear, _)) in flows.iter().enumerate() {
            let judged = Judged {
                label: (*label).to_owned(),
                score: 0.5,
                clear: (*clear).to_owned(),
            };
            tally.add((number, judged, Duration::from_millis(1)), &table);
        }
        tally
    }

    #[test]
    fn one_label_that_differs_fails_the_story_though_it_is_the_right_one() {
        let same = ("normal", "normal", "normal");
        assert!(of(&[same; 40]).verdict().is_ok());
        let mut flows = [same; 40];
        flows[7] = ("normal", "attack", "normal");
        assert!(of(&flows).verdict().is_err());
    }

    #[test]
    fn false_alarms_are_counted_among_normal_flows_alone() {
        let mut flows = [("attack", "attack", "attack"); 40];
        flows[0] = ("attack", "attack", "normal");
        let tally = of(&flows);
        assert_eq!((tally.normal, tally.false_alarms), (1, 1));
        assert!(tally.accuracy() > 0.9 && tally.verdict().is_err());
        flows[0] = ("normal", "normal", "attack");
        assert_eq!(of(&flows).false_alarms, 0);
        assert!(of(&flows).verdict().is_ok());
    }
}
