//! The statistics, for Ruby.

use magnus::value::ReprValue;
use magnus::{Error, RHash, Ruby, Value};
use push_core::base::stats::histogram::{BOUNDS, Histogram};
use push_core::base::stats::{Kind, Stats, Unit};

/// The table of numbers: a frozen Hash by name, of frozen Hashes.
pub fn numbers(ruby: &Ruby) -> Result<RHash, Error> {
    let table = ruby.hash_new();
    for row in Stats::TABLE {
        let kind = match row.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Maximum => "maximum",
        };
        let unit = match row.unit {
            Unit::Number => "number",
            Unit::Bytes => "bytes",
            Unit::Microseconds => "microseconds",
        };
        let hash = ruby.hash_new();
        hash.aset(ruby.to_symbol("kind"), ruby.to_symbol(kind))?;
        hash.aset(ruby.to_symbol("unit"), ruby.to_symbol(unit))?;
        hash.aset(ruby.to_symbol("doc"), frozen(ruby, row.doc))?;
        hash.freeze();
        table.aset(ruby.to_symbol(row.name), hash)?;
    }
    table.freeze();
    Ok(table)
}

/// What each histogram is about: a frozen Hash by name.
pub fn histograms(ruby: &Ruby) -> Result<RHash, Error> {
    let table = ruby.hash_new();
    for (name, doc) in Stats::HISTOGRAMS {
        table.aset(ruby.to_symbol(*name), frozen(ruby, doc))?;
    }
    table.freeze();
    Ok(table)
}

fn frozen(ruby: &Ruby, doc: &str) -> Value {
    let doc = ruby.str_new(doc.trim());
    doc.freeze();
    doc.as_value()
}

/// Numbers by name.
pub fn counted(ruby: &Ruby, stats: &Stats) -> Result<RHash, Error> {
    let hash = ruby.hash_new();
    for (name, count) in stats.all() {
        hash.aset(ruby.to_symbol(name), count)?;
    }
    Ok(hash)
}

/// Histograms by name: how many there were, how long all took, and for each bound how many took at most so long.
pub fn durations(ruby: &Ruby, stats: &Stats) -> Result<RHash, Error> {
    let hash = ruby.hash_new();
    for (name, histogram) in stats.histograms() {
        hash.aset(ruby.to_symbol(name), duration(ruby, histogram)?)?;
    }
    Ok(hash)
}

fn duration(ruby: &Ruby, histogram: &Histogram) -> Result<RHash, Error> {
    let buckets = ruby.hash_new();
    let cumulated = histogram.cumulated();
    for (bound, count) in BOUNDS.into_iter().zip(cumulated) {
        buckets.aset(bound, count)?;
    }
    let hash = ruby.hash_new();
    hash.aset(ruby.to_symbol("count"), cumulated[BOUNDS.len()])?;
    hash.aset(ruby.to_symbol("sum"), histogram.sum())?;
    hash.aset(ruby.to_symbol("buckets"), buckets)?;
    Ok(hash)
}
