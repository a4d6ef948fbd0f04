//! What the demo showed, as one short table at the end.

use std::time::Duration;

use crate::site::Site;

#[derive(Default)]
pub struct Summary {
    rows: Vec<(&'static str, String)>,
}

impl Summary {
    pub fn add(&mut self, what: &'static str, result: impl Into<String>) {
        self.rows.push((what, result.into()));
    }

    pub fn print(&self, site: &Site, took: Duration) {
        let width = self
            .rows
            .iter()
            .map(|(what, _)| what.len())
            .max()
            .unwrap_or(0);
        println!("\nSummary");
        for (what, result) in &self.rows {
            println!("  {what:<width$}  {result}");
        }
        println!("  {:<width$}  {:.0} s", "whole demo", took.as_secs_f64());
        println!(
            "  {:<width$}  {}",
            "metrics (Prometheus)",
            site.metrics_url()
        );
    }
}
