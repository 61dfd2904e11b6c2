//! The text formats: OpenMetrics 1.0, and Prometheus' own, version 0.0.4.

use std::fmt::Write as _;

use super::families::{Family, FamilyKind, Sample, Value};

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    OpenMetrics,
    Prometheus,
}

impl Format {
    /// What a response has as its Content-Type.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// All families, as text.
pub(super) fn render(families: &[Family], format: Format) -> String {
    let mut out = String::new();
    for family in families {
        // Writing to a String does not fail.
        let _ = put_family(&mut out, family, format);
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

fn put_family(out: &mut String, family: &Family, format: Format) -> std::fmt::Result {
    let sample_name = family.sample_name();
    match format {
        Format::OpenMetrics => {
            writeln!(out, "# TYPE {} {}", family.name, family.kind.name())?;
            if let Some(unit) = family.unit {
                writeln!(out, "# UNIT {} {unit}", family.name)?;
            }
            writeln!(out, "# HELP {} {}", family.name, escaped(&family.help, true))?;
        }
        // It has no infos, and names a counter as its samples.
        Format::Prometheus => {
            let kind = if family.kind == FamilyKind::Info { FamilyKind::Gauge } else { family.kind };
            writeln!(out, "# HELP {sample_name} {}", escaped(&family.help, false))?;
            writeln!(out, "# TYPE {sample_name} {}", kind.name())?;
        }
    }
    family.samples.iter().try_for_each(|sample| put_sample(out, &sample_name, sample))
}

fn put_sample(out: &mut String, name: &str, sample: &Sample) -> std::fmt::Result {
    write!(out, "{name}{}", sample.suffix)?;
    for (at, (label, value)) in sample.labels.iter().enumerate() {
        write!(out, "{}{label}=\"{}\"", if at == 0 { '{' } else { ',' }, escaped(value, true))?;
    }
    if !sample.labels.is_empty() {
        out.push('}');
    }
    match sample.value {
        Value::Number(number) => writeln!(out, " {number}"),
        Value::Microseconds(number) => writeln!(out, " {}", number as f64 / 1e6),
    }
}

fn escaped(text: &str, quotes: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes { text.replace('"', "\\\"") } else { text }
}
