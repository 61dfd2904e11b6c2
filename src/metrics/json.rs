//! The answer to `/stats`.

use std::fmt::Write as _;

use super::families::VERSION;
use super::figures::Figures;
use crate::base::json::put_string;
use crate::base::stats::Stats;
use crate::base::stats::histogram::{BOUNDS, Histogram};

/// The figures as JSON, with the names that Ruby has for them. Durations are in microseconds.
pub(super) fn render(figures: &Figures) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = put(&mut out, figures);
    out
}

fn put(out: &mut String, figures: &Figures) -> std::fmt::Result {
    out.push_str("{\"version\":");
    put_string(out, VERSION);
    out.push_str(",\"stats\":");
    put_stats(out, &figures.sum)?;
    out.push_str(",\"histograms\":{");
    for (at, (name, histogram)) in figures.sum.histograms().into_iter().enumerate() {
        write!(out, "{}\"{name}\":", comma(at))?;
        put_histogram(out, histogram)?;
    }
    out.push_str("},\"workers\":[");
    for (at, worker) in figures.workers.iter().flatten().enumerate() {
        let (number, process, pid) = (worker.number, worker.process, worker.pid);
        write!(out, "{}{{\"number\":{number},\"process\":{process},\"pid\":{pid},\"stats\":", comma(at))?;
        put_stats(out, &worker.stats)?;
        out.push('}');
    }
    out.push_str("]}\n");
    Ok(())
}

fn put_stats(out: &mut String, stats: &Stats) -> std::fmt::Result {
    out.push('{');
    for (at, (name, number)) in stats.all().into_iter().enumerate() {
        write!(out, "{}\"{name}\":{number}", comma(at))?;
    }
    out.push('}');
    Ok(())
}

/// For each bound how many took at most so long.
fn put_histogram(out: &mut String, histogram: &Histogram) -> std::fmt::Result {
    let cumulated = histogram.cumulated();
    write!(out, "{{\"count\":{},\"sum\":{},\"buckets\":{{", cumulated[BOUNDS.len()], histogram.sum())?;
    for (at, (bound, count)) in BOUNDS.iter().zip(cumulated).enumerate() {
        write!(out, "{}\"{bound}\":{count}", comma(at))?;
    }
    out.push_str("}}");
    Ok(())
}

fn comma(at: usize) -> &'static str {
    if at == 0 { "" } else { "," }
}
