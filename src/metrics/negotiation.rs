//! Which text format a client prefers.

use super::text::Format;

/// How much a client wants something: from 0, not at all, to 1000.
type Quality = u16;

/// The format for a request with these Accept headers. OpenMetrics only if the client names it, since Prometheus' own format can
/// be read by anything.
pub(super) fn format<'a>(headers: impl Iterator<Item = &'a str>) -> Format {
    let (mut open_metrics, mut plain) = (None, None);
    for range in headers.flat_map(|header| header.split(',')) {
        let (name, parameters) = range.split_once(';').unwrap_or((range, ""));
        let quality = quality(parameters);
        match name.trim().to_ascii_lowercase().as_str() {
            "application/openmetrics-text" if has_version(parameters, "1.") => {
                open_metrics = open_metrics.max(Some(quality));
            }
            "text/plain" if has_version(parameters, "0.0.4") => plain = plain.max(Some(quality)),
            _ => {}
        }
    }
    match open_metrics {
        Some(quality) if quality > 0 && quality >= plain.unwrap_or(0) => Format::OpenMetrics,
        _ => Format::Prometheus,
    }
}

fn parameters(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = text.split(';').filter_map(|parameter| parameter.split_once('='));
    pairs.map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
}

/// Whether no other version is asked for.
fn has_version(text: &str, beginning: &str) -> bool {
    parameters(text).all(|(name, value)| !name.eq_ignore_ascii_case("version") || value.starts_with(beginning))
}

fn quality(text: &str) -> Quality {
    let quality = parameters(text).find(|(name, _)| name.eq_ignore_ascii_case("q"));
    let quality = quality.map_or(1.0, |(_, value)| value.parse::<f32>().unwrap_or(0.0));
    (quality.clamp(0.0, 1.0) * 1000.0) as Quality
}
