//! The metrics: a family for each number of the table of statistics, and a few more.
//!
//! Counters and histograms are sums over all processes, without a label for the worker: a worker that ends takes nothing away, so
//! no counter goes back to 0, and `rate()` sees no jump. Gauges have a label for the worker, whose successor goes on with it.

use super::figures::Figures;
use crate::base::stats::histogram::{BOUNDS, Histogram};
use crate::base::stats::{Kind, Row, Stats, Unit};

/// The version of push_server.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What all names begin with.
const PREFIX: &str = "push_server";

/// What kind of metric it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyKind {
    /// It only grows, until the whole server is started anew.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Durations, by length.
    Histogram,
    /// A text, in a label.
    Info,
}

impl FamilyKind {
    /// Its name in OpenMetrics.
    pub fn name(self) -> &'static str {
        match self {
            FamilyKind::Counter => "counter",
            FamilyKind::Gauge => "gauge",
            FamilyKind::Histogram => "histogram",
            FamilyKind::Info => "info",
        }
    }
}

/// A metric, with all its samples.
#[derive(Debug)]
pub struct Family {
    /// Its name, without the endings of its samples.
    pub name: String,
    /// What it is.
    pub kind: FamilyKind,
    /// What it counts, if OpenMetrics has a word for that. The name ends in it.
    pub unit: Option<&'static str>,
    /// The labels of its samples, without `le`.
    pub labels: &'static [&'static str],
    /// What it means, for people.
    pub help: String,
    /// Its values.
    pub(super) samples: Vec<Sample>,
}

impl Family {
    fn new(name: &str, kind: FamilyKind, labels: &'static [&'static str], help: impl Into<String>) -> Self {
        let unit = ["bytes", "seconds"].into_iter().find(|unit| name.ends_with(&format!("_{unit}")));
        let name = if name.is_empty() { PREFIX.to_owned() } else { format!("{PREFIX}_{name}") };
        Family { name, kind, unit, labels, help: help.into(), samples: Vec::new() }
    }

    /// The name of its samples, without the endings of a histogram's.
    pub fn sample_name(&self) -> String {
        match self.kind {
            FamilyKind::Counter => format!("{}_total", self.name),
            FamilyKind::Info => format!("{}_info", self.name),
            FamilyKind::Gauge | FamilyKind::Histogram => self.name.clone(),
        }
    }

    fn push(&mut self, suffix: &'static str, labels: Vec<(&'static str, String)>, value: Value) {
        self.samples.push(Sample { suffix, labels, value });
    }
}

/// A value with its labels.
#[derive(Debug)]
pub(super) struct Sample {
    /// What its name has behind [`Family::sample_name`].
    pub(super) suffix: &'static str,
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) value: Value,
}

/// A value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    Number(u64),
    /// It is shown in seconds.
    Microseconds(u64),
}

/// All metrics that there can be, without values, for the documentation.
pub fn table() -> Vec<Family> {
    let figures = Figures { workers: Some(Vec::new()), ..Figures::default() };
    families(&figures).into_iter().map(|family| Family { samples: Vec::new(), ..family }).collect()
}

/// All metrics.
pub(super) fn families(figures: &Figures) -> Vec<Family> {
    let mut families = vec![info()];
    families.extend(figures.workers.as_ref().map(|workers| number_of_workers(workers.len())));
    families.extend(of_table(figures));
    families.extend(of_histograms(&figures.sum));
    families
}

fn info() -> Family {
    let mut family = Family::new("", FamilyKind::Info, &["version"], "The version of push_server.");
    family.push("", vec![("version", VERSION.to_owned())], Value::Number(1));
    family
}

fn number_of_workers(count: usize) -> Family {
    let help = "Worker processes that run now, those that drain too.";
    let mut family = Family::new("workers", FamilyKind::Gauge, &[], help);
    family.push("", Vec::new(), Value::Number(count as u64));
    family
}

/// A family for each row of the table.
fn of_table(figures: &Figures) -> Vec<Family> {
    let mut families: Vec<_> = Stats::TABLE.iter().map(family_of).collect();
    let workers = figures.by_number();
    for (at, ((_, sum), row)) in figures.sum.all().into_iter().zip(Stats::TABLE).enumerate() {
        match &workers {
            Some(workers) if row.kind == Kind::Gauge => {
                for (number, stats) in workers {
                    let value = stats.all().get(at).map_or(0, |(_, value)| *value);
                    families[at].push("", vec![("worker", number.to_string())], value_of(row, value));
                }
            }
            _ => families[at].push("", Vec::new(), value_of(row, sum)),
        }
    }
    families
}

fn family_of(row: &Row) -> Family {
    let name = match (row.name, row.unit) {
        ("bytes_in", _) => "received_bytes".to_owned(),
        ("bytes_out", _) => "sent_bytes".to_owned(),
        (name, Unit::Microseconds) => name.replace("microseconds", "seconds"),
        (name, _) => name.to_owned(),
    };
    let (kind, labels): (_, &[_]) = match row.kind {
        Kind::Counter => (FamilyKind::Counter, &[]),
        Kind::Gauge => (FamilyKind::Gauge, &["worker"]),
        Kind::Maximum => (FamilyKind::Gauge, &[]),
    };
    Family::new(&name, kind, labels, row.doc.trim().replace("microseconds", "seconds"))
}

fn value_of(row: &Row, number: u64) -> Value {
    if row.unit == Unit::Microseconds { Value::Microseconds(number) } else { Value::Number(number) }
}

/// What a histogram of the statistics is called: `queue_time` is `queue_duration_seconds`; those of `request_time_2xx` and the
/// like are one family, with a label.
fn of_histograms(stats: &Stats) -> Vec<Family> {
    let mut families = Vec::<Family>::new();
    let docs = Stats::HISTOGRAMS.iter().map(|(_, doc)| doc.trim());
    for ((name, histogram), doc) in stats.histograms().into_iter().zip(docs) {
        let (subject, status) = match name.split_once("_time_") {
            Some((subject, status)) => (subject, Some(status)),
            None => (name.strip_suffix("_time").unwrap_or(name), None),
        };
        let name = format!("{subject}_duration_seconds");
        if families.last().is_none_or(|family| family.name != format!("{PREFIX}_{name}")) {
            let (labels, help): (&[_], _) = match status {
                Some(_) => (&["status"], REQUESTS),
                None => (&[], doc),
            };
            families.push(Family::new(&name, FamilyKind::Histogram, labels, help));
        }
        let labels: Vec<_> = status.map(|status| ("status", status.to_owned())).into_iter().collect();
        families.iter_mut().next_back().into_iter().for_each(|family| observe(family, &labels, histogram));
    }
    families
}

const REQUESTS: &str = "How long requests took, from the whole head to the last byte of the response, by the class of the \
                        status. Upgrades are 1xx.";

fn observe(family: &mut Family, labels: &[(&'static str, String)], histogram: &Histogram) {
    let cumulated = histogram.cumulated();
    // One more than there are bounds.
    let bounds = BOUNDS.iter().map(|bound| format!("{:?}", *bound as f64 / 1e6)).chain(["+Inf".to_owned()]);
    for (bound, count) in bounds.zip(cumulated) {
        family.push("_bucket", [labels, &[("le", bound)]].concat(), Value::Number(count));
    }
    // The same number as in the last bucket, also while somebody counts.
    family.push("_count", labels.to_vec(), Value::Number(cumulated[BOUNDS.len()]));
    family.push("_sum", labels.to_vec(), Value::Microseconds(histogram.sum()));
}
