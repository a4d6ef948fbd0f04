//! The benchmarks behind `cargo xtask bench`: one module per boundary, one table at the end (README.md says how to read it).

mod cpu;
mod report;

fn main() {
    let rows = vec![report::Row::new("self", "cpu", cpu::own().map_or(0.0, |t| t.as_secs_f64()), "s").against(1.0, "one").note("")];
    report::print(&rows);
    let _ = report::json_lines(&rows).map(|text| print!("{text}"));
    let _ = cpu::resident_mib(std::process::id());
}
