use std::collections::BTreeSet;

use super::super::families::{families, table};
use super::super::negotiation::format;
use super::super::text::{Format, render};
use super::super::{FamilyKind, Figures, json};
use super::figures as counted;
use crate::base::stats::Stats;

fn figures() -> Figures {
    counted().unwrap()
}

/// All lines of a family.
fn lines<'a>(text: &'a str, family: &str) -> Vec<&'a str> {
    let is_of = |line: &&str| {
        let line = line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ").trim_start_matches("# UNIT ");
        line.strip_prefix(family).is_some_and(|rest| {
            rest.starts_with([' ', '{'])
                || ["_total", "_info", "_bucket", "_sum", "_count"].iter().any(|it| rest.starts_with(it))
        })
    };
    text.lines().filter(is_of).collect()
}

fn texts(figures: &Figures) -> [String; 2] {
    [Format::OpenMetrics, Format::Prometheus].map(|format| render(&families(figures), format))
}

#[test]
fn a_counter_is_a_sum_without_a_label() {
    let [open_metrics, prometheus] = texts(&figures());
    assert_eq!(
        lines(&open_metrics, "push_server_requests"),
        [
            "# TYPE push_server_requests counter",
            "# HELP push_server_requests Requests whose head was valid.",
            "push_server_requests_total 100",
        ]
    );
    assert_eq!(
        lines(&prometheus, "push_server_requests"),
        [
            "# HELP push_server_requests_total Requests whose head was valid.",
            "# TYPE push_server_requests_total counter",
            "push_server_requests_total 100",
        ]
    );
}

#[test]
fn a_gauge_has_a_sample_for_each_worker() {
    let gauge = [
        "# TYPE push_server_open_connections gauge",
        "push_server_open_connections{worker=\"1\"} 6",
        "push_server_open_connections{worker=\"2\"} 7",
    ];
    for text in texts(&figures()) {
        let mut lines = lines(&text, "push_server_open_connections");
        lines.retain(|line| !line.starts_with("# HELP"));
        assert_eq!(lines, gauge);
        assert!(text.contains("\npush_server_largest_batch 9\n"));
    }
    // In a single process, none has a number.
    let figures = Figures { workers: None, ..figures() };
    for text in texts(&figures) {
        assert!(text.contains("\npush_server_open_connections 13\n"));
        assert!(!text.contains("worker=") && !text.contains("push_server_workers"));
    }
}

#[test]
fn units_are_those_of_prometheus() {
    let [open_metrics, prometheus] = texts(&figures());
    assert!(open_metrics.contains("# UNIT push_server_received_bytes bytes\n"));
    assert!(open_metrics.contains("# UNIT push_server_queue_seconds seconds\n"));
    for text in [open_metrics, prometheus] {
        assert!(text.contains("\npush_server_received_bytes_total 1234\n"));
        assert!(text.contains("\npush_server_queue_seconds_total 2.5\n"));
        assert!(!text.contains("microseconds"));
    }
}

#[test]
fn a_histogram_has_cumulated_buckets_in_seconds() {
    for text in texts(&figures()) {
        for line in [
            "push_server_request_duration_seconds_bucket{status=\"2xx\",le=\"0.0001\"} 1",
            "push_server_request_duration_seconds_bucket{status=\"2xx\",le=\"1.0\"} 1",
            "push_server_request_duration_seconds_bucket{status=\"2xx\",le=\"10.0\"} 1",
            "push_server_request_duration_seconds_bucket{status=\"2xx\",le=\"+Inf\"} 2",
            "push_server_request_duration_seconds_count{status=\"2xx\"} 2",
            "push_server_request_duration_seconds_sum{status=\"2xx\"} 30.0001",
            "push_server_request_duration_seconds_bucket{status=\"5xx\",le=\"0.001\"} 0",
            "push_server_request_duration_seconds_bucket{status=\"5xx\",le=\"0.0025\"} 1",
            "push_server_request_duration_seconds_count{status=\"3xx\"} 0",
            "push_server_queue_duration_seconds_count 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}");
        }
        assert_eq!(text.matches("# TYPE push_server_request_duration_seconds histogram\n").count(), 1);
    }
}

#[test]
fn the_version_is_an_info() {
    let [open_metrics, prometheus] = texts(&figures());
    assert!(open_metrics.starts_with("# TYPE push_server info\n"));
    assert!(prometheus.contains("# TYPE push_server_info gauge\n"));
    for text in [&open_metrics, &prometheus] {
        assert!(text.contains(concat!("\npush_server_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1\n")));
        assert!(text.contains("\npush_server_workers 3\n"));
    }
    assert!(open_metrics.ends_with("\n# EOF\n"));
    assert!(!prometheus.contains("EOF"));
}

#[test]
fn each_number_is_a_metric_with_a_name_of_its_own() {
    let families = table();
    let names: BTreeSet<_> = families.iter().map(|family| family.name.as_str()).collect();
    assert_eq!(names.len(), families.len());
    let simple = families.iter().filter(|family| family.kind != FamilyKind::Histogram).count();
    assert_eq!(simple, Stats::TABLE.len() + 2);
    let histograms: Vec<_> = families.iter().filter(|family| family.kind == FamilyKind::Histogram).collect();
    assert!(histograms.iter().all(|family| family.name.ends_with("_duration_seconds")), "{histograms:?}");
    for family in &families {
        assert!(!family.help.is_empty() && !family.help.contains('\n'), "{family:?}");
        assert!(!family.name.ends_with("_total"), "{family:?}");
    }
}

#[test]
fn a_client_gets_the_format_that_it_prefers() {
    let openmetrics = "application/openmetrics-text";
    let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                        text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;\
                        version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;\
                        q=0.3,*/*;q=0.2";
    for accept in
        [openmetrics, prometheus_2, prometheus_3, "text/plain, Application/OpenMetrics-Text; Version=\"1.0.0\""]
    {
        assert_eq!(format([accept].into_iter()), Format::OpenMetrics, "{accept}");
    }
    assert_eq!(format(["text/plain;q=0.2", openmetrics].into_iter()), Format::OpenMetrics);
    for accept in [
        "",
        "*/*",
        "text/html,application/xhtml+xml,*/*;q=0.8",
        "application/openmetrics-text;q=0",
        "application/openmetrics-text;q=nothing",
        "application/openmetrics-text;version=0.0.1",
        "application/openmetrics-text;q=0.1,text/plain;version=0.0.4;q=0.2",
        "image/png",
        ",;=,",
    ] {
        assert_eq!(format([accept].into_iter()), Format::Prometheus, "{accept}");
    }
    assert_eq!(format([].into_iter()), Format::Prometheus);
}

#[test]
fn json_has_the_sums_and_each_worker() {
    let text = json::render(&figures());
    assert!(text.contains("\"stats\":{\"connections\":0,\"requests\":100,"));
    assert!(text.contains(
        ",\"workers\":[{\"number\":1,\"process\":3,\"pid\":103,\"stats\":{\"connections\":0,\"requests\":10,"
    ));
    assert!(text.contains("\"request_time_2xx\":{\"count\":2,\"sum\":30000100,\"buckets\":{\"100\":1,"));
    let single = json::render(&Figures { workers: None, ..figures() });
    assert!(single.ends_with(",\"workers\":[]}\n"));
}
