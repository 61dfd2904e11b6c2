//! The line of JSON that is printed.

use std::fmt::Write;

use crate::meter::Meter;
use crate::session::Window;

/// The figures of a load.
#[derive(Debug)]
pub struct Report {
    figures: Vec<(&'static str, Option<f64>)>,
}

impl Report {
    /// The figures that every load has. A figure is null if there was no operation, or no process id of the server.
    pub fn new(connections: usize, meter: &Meter, window: &Window) -> Self {
        let seconds = window.length as f64 / 1e9;
        let operations = meter.operations as f64;
        let microseconds = |time: Option<u64>| time.map(|time| time as f64 / 1000.0);
        let per_operation = |time: u64| time as f64 / 1000.0 / operations;
        Report {
            figures: vec![
                ("connections", Some(connections as f64)),
                ("seconds", Some(seconds)),
                ("operations", Some(operations)),
                ("rate", Some(operations / seconds)),
                ("p50_us", microseconds(meter.latencies.quantile(0.50))),
                ("p99_us", microseconds(meter.latencies.quantile(0.99))),
                ("max_us", microseconds(meter.latencies.max())),
                ("server_cpu_us_per_operation", window.server_cpu.map(per_operation)),
                ("server_cpu_percent", window.server_cpu_percent()),
                ("load_cpu_percent", Some(100.0 * window.load_cpu as f64 / window.length as f64)),
                ("server_memory_bytes", window.memory.map(|bytes| bytes as f64)),
                ("bytes_per_operation", Some(meter.bytes as f64 / operations)),
                ("pings", Some(meter.pings as f64)),
                ("reopened", Some(meter.reopened as f64)),
            ],
        }
    }

    /// Adds a figure that only some loads have.
    pub fn add(&mut self, name: &'static str, value: Option<f64>) {
        self.figures.push((name, value));
    }

    /// The line. A figure that is not a finite number is null, such as the CPU time per operation of no operations.
    pub fn json(&self) -> String {
        let mut line = String::new();
        for (name, value) in &self.figures {
            line.push_str(if line.is_empty() { "{" } else { "," });
            let _ = match value.filter(|value| value.is_finite()) {
                Some(value) => write!(line, "\"{name}\":{}", (value * 1000.0).round() / 1000.0),
                None => write!(line, "\"{name}\":null"),
            };
        }
        line.push('}');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_it_has() {
        let report = Report { figures: vec![("rate", Some(12.5)), ("p50_us", None), ("share", Some(f64::NAN))] };
        assert_eq!(report.json(), r#"{"rate":12.5,"p50_us":null,"share":null}"#);
    }
}
