//! Lines that are JSON objects.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::outcome::RequestOutcome;
use super::redaction::{header, without_tokens};
use super::time;
use crate::base::json;
use crate::request_head::RequestHead;

/// Appends what is known of a request when it arrives. Returns where its outcome belongs.
pub(super) fn put_request(text: &mut String, at: SystemTime, remote: IpAddr, head: Option<&RequestHead>) -> usize {
    text.push_str("{\"time\":\"");
    time::put_utc(text, at);
    let _ = write!(text, "\",\"remote\":\"{remote}\"");
    put_field(text, "method", head.map(|head| head.method_name().as_bytes()));
    put_field(text, "target", head.map(|head| without_tokens(head.target())).as_deref());
    put_field(text, "protocol", head.map(|head| format!("{:?}", head.version())).as_deref().map(str::as_bytes));
    let split = text.len();
    put_field(text, "referer", header(head, "referer").as_deref());
    put_field(text, "user_agent", header(head, "user-agent").as_deref());
    put_field(text, "host", header(head, "host").as_deref());
    split
}

/// Appends what became of the request, and around that the rest of the template.
pub(super) fn put_outcome(line: &mut String, after: &str, outcome: &RequestOutcome, duration: Duration) {
    line.push_str(",\"status\":");
    match outcome.status {
        Some(status) => line.push_str(status.as_str()),
        None => line.push_str("null"),
    }
    let _ = write!(line, ",\"bytes\":{},\"duration\":{:.6}", outcome.bytes, duration.as_secs_f64());
    line.push_str(after);
    put_field(line, "upgrade", outcome.upgrade.map(str::as_bytes));
    if outcome.cut {
        line.push_str(",\"cut\":true");
    }
    if let Some(traffic) = &outcome.closed {
        line.push_str(",\"closed\":true,\"close_code\":");
        match traffic.code {
            Some(code) => drop(write!(line, "{code}")),
            None => line.push_str("null"),
        }
        let _ = write!(
            line,
            ",\"messages_in\":{},\"messages_out\":{},\"bytes_in\":{},\"bytes_out\":{}",
            traffic.messages_in, traffic.messages_out, traffic.bytes_in, traffic.bytes_out
        );
    }
    line.push('}');
}

/// Appends the line that says how many lines are missing.
pub(super) fn put_lost(line: &mut String, at: SystemTime, count: u64) {
    line.push_str("{\"time\":\"");
    time::put_utc(line, at);
    let _ = writeln!(line, "\",\"lost\":{count}}}");
}

fn put_field(text: &mut String, name: &str, value: Option<&[u8]>) {
    let _ = write!(text, ",\"{name}\":");
    match value {
        Some(value) => {
            // What is not UTF-8 becomes U+FFFD.
            json::put_string(text, &String::from_utf8_lossy(value));
        }
        None => text.push_str("null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_not_utf_8_stays_within_its_quotes() {
        let mut text = String::new();
        put_field(&mut text, "host", Some(b"\"\xff"));
        assert_eq!(text, ",\"host\":\"\\\"\u{fffd}\"");
    }
}
