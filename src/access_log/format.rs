//! The three formats of lines, and the template of a line.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::outcome::RequestOutcome;
use super::{apache, json};
use crate::request_head::RequestHead;

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Apache's `%h %l %u %t "%r" %>s %b`.
    Common,
    /// The same, and `"%{Referer}i" "%{User-agent}i"`.
    Combined,
    /// A JSON object.
    Json,
}

impl Format {
    /// The format of that name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "common" => Some(Format::Common),
            "combined" => Some(Format::Combined),
            "json" => Some(Format::Json),
            _ => None,
        }
    }
}

/// The part of a line that says what was asked for. It is made when the request arrives, so that the head need not be
/// kept.
#[derive(Debug)]
pub(super) struct LineTemplate {
    format: Format,
    text: String,
    /// Where in the text the outcome belongs.
    split: usize,
}

impl LineTemplate {
    pub(super) fn new(format: Format, time: SystemTime, remote: IpAddr, head: Option<&RequestHead>) -> Self {
        let mut text = String::with_capacity(256);
        let split = match format {
            Format::Common => apache::put_request(&mut text, false, time, remote, head),
            Format::Combined => apache::put_request(&mut text, true, time, remote, head),
            Format::Json => json::put_request(&mut text, time, remote, head),
        };
        LineTemplate { format, text, split }
    }

    /// The whole line.
    pub(super) fn line(&self, outcome: &RequestOutcome, duration: Duration) -> String {
        let (before, after) = self.text.split_at(self.split);
        let mut line = String::with_capacity(self.text.len() + 128);
        line.push_str(before);
        match self.format {
            Format::Common | Format::Combined => apache::put_outcome(&mut line, after, outcome, duration),
            Format::Json => json::put_outcome(&mut line, after, outcome, duration),
        }
        line.push('\n');
        line
    }
}

/// The line that says how many lines are missing.
pub(super) fn lost(format: Format, time: SystemTime, count: u64) -> String {
    match format {
        Format::Common | Format::Combined => format!("# {count} lines lost\n"),
        Format::Json => {
            let mut line = String::new();
            json::put_lost(&mut line, time, count);
            line
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_log::Traffic;
    use http::header::USER_AGENT;
    use http::{HeaderValue, StatusCode};
    use proptest::prelude::*;

    const TIME: Duration = Duration::from_millis(971_211_336_123);
    const REMOTE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1));

    fn head(fields: &[(&str, &[u8])]) -> RequestHead {
        let mut request = http::Request::builder().uri("/a?b=c");
        for (name, value) in fields {
            request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
        }
        RequestHead::from_parts(request.body(()).unwrap().into_parts().0)
    }

    fn line(format: Format, head: Option<&RequestHead>, outcome: &RequestOutcome) -> String {
        let template = LineTemplate::new(format, SystemTime::UNIX_EPOCH + TIME, REMOTE, head);
        let line = template.line(outcome, Duration::from_micros(1500));
        // The time zone is the machine's.
        match (line.find('['), line.find(']')) {
            (Some(from), Some(to)) if format != Format::Json => format!("{}T{}", &line[..from], &line[to + 1..]),
            _ => line,
        }
    }

    fn ok(bytes: u64) -> RequestOutcome {
        RequestOutcome { status: Some(StatusCode::OK), bytes, ..RequestOutcome::default() }
    }

    #[test]
    fn common_and_combined_are_as_apache_writes_them() {
        let head = head(&[("referer", b"http://a/"), ("user-agent", b"Mozilla/5.0 (X11)")]);
        let common = "127.0.0.1 - - T \"GET /a?b=c HTTP/1.1\" 200 12\n";
        assert_eq!(line(Format::Common, Some(&head), &ok(12)), common);
        let combined = "127.0.0.1 - - T \"GET /a?b=c HTTP/1.1\" 200 12 \"http://a/\" \"Mozilla/5.0 (X11)\"\n";
        assert_eq!(line(Format::Combined, Some(&head), &ok(12)), combined);
    }

    #[test]
    fn a_missing_value_is_a_hyphen_or_null() {
        let nothing = RequestOutcome::default();
        assert_eq!(line(Format::Combined, None, &nothing), "127.0.0.1 - - T \"-\" - - \"-\" \"-\"\n");
        assert_eq!(
            line(Format::Json, None, &nothing),
            "{\"time\":\"2000-10-10T20:55:36.123Z\",\"remote\":\"127.0.0.1\",\"method\":null,\"target\":null,\
             \"protocol\":null,\"status\":null,\"bytes\":0,\"duration\":0.001500,\"referer\":null,\
             \"user_agent\":null,\"host\":null,\"upgrade\":null}\n"
        );
    }

    #[test]
    fn json_has_every_field() {
        let head = head(&[("host", b"a:80"), ("user-agent", b"curl/8")]);
        let traffic = Traffic { code: Some(1000), messages_in: 1, messages_out: 2, bytes_in: 3, bytes_out: 4 };
        let outcome = RequestOutcome {
            status: Some(StatusCode::SWITCHING_PROTOCOLS),
            bytes: 4,
            cut: false,
            upgrade: Some("websocket"),
            closed: Some(traffic),
        };
        assert_eq!(
            line(Format::Json, Some(&head), &outcome),
            "{\"time\":\"2000-10-10T20:55:36.123Z\",\"remote\":\"127.0.0.1\",\"method\":\"GET\",\
             \"target\":\"/a?b=c\",\"protocol\":\"HTTP/1.1\",\"status\":101,\"bytes\":4,\"duration\":0.001500,\
             \"referer\":null,\"user_agent\":\"curl/8\",\"host\":\"a:80\",\"upgrade\":\"websocket\",\
             \"closed\":true,\"close_code\":1000,\"messages_in\":1,\"messages_out\":2,\"bytes_in\":3,\"bytes_out\":4}\n"
        );
    }

    #[test]
    fn apaches_formats_have_what_else_there_is_to_say_at_the_end() {
        let head = head(&[]);
        let cut = RequestOutcome { cut: true, ..ok(3) };
        assert!(line(Format::Common, Some(&head), &cut).ends_with(" 200 3 cut\n"));
        let closed = RequestOutcome { closed: Some(Traffic { messages_out: 7, ..Traffic::default() }), ..ok(3) };
        let tail =
            " 200 3 \"-\" \"-\" closed code=- duration=0.001500 messages_in=0 messages_out=7 bytes_in=0 bytes_out=0\n";
        assert!(line(Format::Combined, Some(&head), &closed).ends_with(tail));
    }

    #[test]
    fn a_line_says_how_many_were_lost() {
        let time = SystemTime::UNIX_EPOCH + TIME;
        assert_eq!(lost(Format::Common, time, 7), "# 7 lines lost\n");
        assert_eq!(lost(Format::Json, time, 7), "{\"time\":\"2000-10-10T20:55:36.123Z\",\"lost\":7}\n");
    }

    proptest! {
        #[test]
        fn any_request_is_one_line(target in "/[!-~]{0,30}", agent in proptest::collection::vec(any::<u8>(), 0..30)) {
            let Ok(uri) = target.parse::<http::Uri>() else { return Ok(()) };
            let Ok(agent) = HeaderValue::from_bytes(&agent) else { return Ok(()) };
            let (mut head, ()) = http::Request::new(()).into_parts();
            head.uri = uri;
            head.headers.insert(USER_AGENT, agent);
            let head = RequestHead::from_parts(head);
            for format in [Format::Common, Format::Combined, Format::Json] {
                let line = line(format, Some(&head), &ok(1));
                prop_assert_eq!(line.find(char::is_control), Some(line.len() - 1));
            }
        }
    }
}
