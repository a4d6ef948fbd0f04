//! How long a call takes, and the line that says so.

use std::time::Instant;

use crate::params::Params;

pub(crate) struct Stats {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
    pub(crate) reps: usize,
}

pub(crate) fn time(budget_s: f64, max_reps: usize, mut run: impl FnMut()) -> Stats {
    run();
    let t0 = Instant::now();
    run();
    let one = t0.elapsed().as_secs_f64();
    if one < 0.05 {
        for _ in 0..3 {
            run();
        }
    }
    let mut v = Vec::new();
    let all = Instant::now();
    while v.len() < 3 || (v.len() < max_reps && all.elapsed().as_secs_f64() < budget_s) {
        let t = Instant::now();
        run();
        v.push(t.elapsed().as_secs_f64());
    }
    v.sort_by(f64::total_cmp);
    Stats {
        min: v[0],
        median: v[v.len() / 2],
        max: v[v.len() - 1],
        reps: v.len(),
    }
}

pub(crate) fn report(p: &Params, mode: &str, what: &str, b: usize, s: &Stats, tail: &str) {
    println!(
        "{{\"kind\":\"time\",\"params\":\"{}\",\"mode\":\"{mode}\",\"op\":\"{what}\",\"batch\":{b},\"reps\":{},\"min_ms\":{:.4},\"median_ms\":{:.4},\"max_ms\":{:.4},\"per_s_median\":{:.1},\"per_s_best\":{:.1}{tail}}}",
        p.name,
        s.reps,
        s.min * 1e3,
        s.median * 1e3,
        s.max * 1e3,
        b as f64 / s.median,
        b as f64 / s.min
    );
}
