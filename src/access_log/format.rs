//! What lines look like: common, combined, JSON.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::header::{HOST, HeaderName, REFERER, USER_AGENT};
use http::request::Parts;

use super::entry::Outcome;
use super::redaction::without_tokens;
use crate::base::json;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

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

/// What a line says of its request. Made when it arrives, so that nothing of it need be kept.
#[derive(Debug)]
pub(super) struct Template {
    format: Format,
    text: String,
    /// Where in the text the outcome belongs.
    split: usize,
}

impl Template {
    pub(super) fn new(format: Format, time: SystemTime, remote: IpAddr, head: Option<&Parts>) -> Self {
        let mut text = String::with_capacity(256);
        let split = match format {
            Format::Common | Format::Combined => apache_request(&mut text, format, time, remote, head),
            Format::Json => json_request(&mut text, time, remote, head),
        };
        Template { format, text, split }
    }

    /// The whole line.
    pub(super) fn line(&self, outcome: &Outcome, duration: Duration) -> String {
        let (before, after) = self.text.split_at(self.split);
        let mut line = String::with_capacity(self.text.len() + 128);
        line.push_str(before);
        match self.format {
            Format::Common | Format::Combined => apache_outcome(&mut line, after, outcome, duration),
            Format::Json => json_outcome(&mut line, after, outcome, duration),
        }
        line.push('\n');
        line
    }
}

/// The line that says how many are missing.
pub(super) fn lost(format: Format, time: SystemTime, count: u64) -> String {
    match format {
        Format::Common | Format::Combined => format!("# {count} lines lost\n"),
        Format::Json => {
            let mut line = String::from("{\"time\":\"");
            iso_time(&mut line, time);
            let _ = writeln!(line, "\",\"lost\":{count}}}");
            line
        }
    }
}

fn header(head: Option<&Parts>, name: HeaderName) -> Option<Cow<'_, [u8]>> {
    let value = head?.headers.get(&name)?.as_bytes();
    Some(if name == REFERER { without_tokens(value) } else { Cow::Borrowed(value) })
}

fn apache_request(text: &mut String, format: Format, time: SystemTime, remote: IpAddr, head: Option<&Parts>) -> usize {
    let _ = write!(text, "{remote} - - [");
    apache_time(text, time);
    text.push_str("] \"");
    match head {
        Some(head) => {
            apache_escaped(text, head.method.as_str().as_bytes());
            text.push(' ');
            apache_escaped(text, &without_tokens(head.uri.to_string().as_bytes()));
            let _ = write!(text, " {:?}", head.version);
        }
        None => text.push('-'),
    }
    text.push_str("\" ");
    let split = text.len();
    if format == Format::Combined {
        for name in [REFERER, USER_AGENT] {
            text.push_str(" \"");
            apache_escaped(text, &header(head, name).unwrap_or(Cow::Borrowed(b"-")));
            text.push('"');
        }
    }
    split
}

fn apache_outcome(line: &mut String, after: &str, outcome: &Outcome, duration: Duration) {
    match outcome.status {
        Some(status) => line.push_str(status.as_str()),
        None => line.push('-'),
    }
    match outcome.bytes {
        0 => line.push_str(" -"),
        bytes => drop(write!(line, " {bytes}")),
    }
    line.push_str(after);
    // For what follows, Apache's formats have no place.
    if outcome.cut {
        line.push_str(" cut");
    }
    if let Some(traffic) = &outcome.closed {
        line.push_str(" closed code=");
        match traffic.code {
            Some(code) => drop(write!(line, "{code}")),
            None => line.push('-'),
        }
        let _ = write!(
            line,
            " duration={:.6} messages_in={} messages_out={} bytes_in={} bytes_out={}",
            duration.as_secs_f64(),
            traffic.messages_in,
            traffic.messages_out,
            traffic.bytes_in,
            traffic.bytes_out
        );
    }
}

fn json_request(text: &mut String, time: SystemTime, remote: IpAddr, head: Option<&Parts>) -> usize {
    text.push_str("{\"time\":\"");
    iso_time(text, time);
    let _ = write!(text, "\",\"remote\":\"{remote}\"");
    json_field(text, "method", head.map(|head| head.method.as_str().as_bytes()));
    let target = head.map(|head| head.uri.to_string());
    json_field(text, "target", target.as_deref().map(|target| without_tokens(target.as_bytes())).as_deref());
    json_field(text, "protocol", head.map(|head| format!("{:?}", head.version)).as_deref().map(str::as_bytes));
    let split = text.len();
    json_field(text, "referer", header(head, REFERER).as_deref());
    json_field(text, "user_agent", header(head, USER_AGENT).as_deref());
    json_field(text, "host", header(head, HOST).as_deref());
    split
}

fn json_outcome(line: &mut String, after: &str, outcome: &Outcome, duration: Duration) {
    line.push_str(",\"status\":");
    match outcome.status {
        Some(status) => line.push_str(status.as_str()),
        None => line.push_str("null"),
    }
    let _ = write!(line, ",\"bytes\":{},\"duration\":{:.6}", outcome.bytes, duration.as_secs_f64());
    line.push_str(after);
    json_field(line, "upgrade", outcome.upgrade.map(str::as_bytes));
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

fn json_field(text: &mut String, name: &str, value: Option<&[u8]>) {
    let _ = write!(text, ",\"{name}\":");
    match value {
        Some(value) => {
            // What is not UTF-8 becomes U+FFFD.
            json::put_string(text, &String::from_utf8_lossy(value));
        }
        None => text.push_str("null"),
    }
}

/// What comes from outside, in the words of Apache's `ap_escape_logitem`: nothing but printable
/// ASCII, and no quote that is not escaped.
fn apache_escaped(text: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b' '..=b'~' => text.push(char::from(byte)),
            b'\x08' => text.push_str("\\b"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b'\x0b' => text.push_str("\\v"),
            _ => drop(write!(text, "\\x{byte:02x}")),
        }
    }
}

/// `10/Oct/2000:13:55:36 -0700`: local time.
fn apache_time(text: &mut String, time: SystemTime) {
    let (seconds, _) = since_epoch(time);
    let tm = broken_down(seconds, libc::localtime_r);
    let month = usize::try_from(tm.tm_mon).ok().and_then(|month| MONTHS.get(month)).unwrap_or(&"???");
    let minutes = tm.tm_gmtoff / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    let _ = write!(
        text,
        "{:02}/{month}/{:04}:{:02}:{:02}:{:02} {sign}{:02}{:02}",
        tm.tm_mday,
        tm.tm_year + 1900,
        tm.tm_hour,
        tm.tm_min,
        tm.tm_sec,
        minutes.abs() / 60,
        minutes.abs() % 60
    );
}

/// `2000-10-10T20:55:36.123Z`.
fn iso_time(text: &mut String, time: SystemTime) {
    let (seconds, milliseconds) = since_epoch(time);
    let tm = broken_down(seconds, libc::gmtime_r);
    let _ = write!(
        text,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{milliseconds:03}Z",
        tm.tm_year + 1900,
        tm.tm_mon + 1,
        tm.tm_mday,
        tm.tm_hour,
        tm.tm_min,
        tm.tm_sec
    );
}

fn since_epoch(time: SystemTime) -> (libc::time_t, u32) {
    let passed = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (libc::time_t::try_from(passed.as_secs()).unwrap_or(libc::time_t::MAX), passed.subsec_millis())
}

type BreakDown = unsafe extern "C" fn(*const libc::time_t, *mut libc::tm) -> *mut libc::tm;

fn broken_down(seconds: libc::time_t, break_down: BreakDown) -> libc::tm {
    // SAFETY: all zeros is a valid tm: numbers, and a pointer that may be null.
    let mut tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call. A year that has no room leaves it as it is.
    unsafe { break_down(&raw const seconds, &raw mut tm) };
    tm
}

#[cfg(test)]
mod tests {
    use super::super::entry::Traffic;
    use super::*;
    use http::{HeaderValue, StatusCode};
    use proptest::prelude::*;

    const MOMENT: Duration = Duration::from_millis(971_211_336_123);
    const REMOTE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1));

    fn head(fields: &[(&str, &[u8])]) -> Parts {
        let mut request = http::Request::builder().uri("/a?b=c");
        for (name, value) in fields {
            request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
        }
        request.body(()).unwrap().into_parts().0
    }

    fn line(format: Format, head: Option<&Parts>, outcome: &Outcome) -> String {
        let template = Template::new(format, SystemTime::UNIX_EPOCH + MOMENT, REMOTE, head);
        let line = template.line(outcome, Duration::from_micros(1500));
        // The time zone is the machine's.
        match (line.find('['), line.find(']')) {
            (Some(from), Some(to)) if format != Format::Json => format!("{}T{}", &line[..from], &line[to + 1..]),
            _ => line,
        }
    }

    fn ok(bytes: u64) -> Outcome {
        Outcome { status: Some(StatusCode::OK), bytes, ..Outcome::default() }
    }

    #[test]
    fn common_and_combined_are_apaches() {
        let head = head(&[("referer", b"http://a/"), ("user-agent", b"Mozilla/5.0 (X11)")]);
        let common = "127.0.0.1 - - T \"GET /a?b=c HTTP/1.1\" 200 12\n";
        assert_eq!(line(Format::Common, Some(&head), &ok(12)), common);
        let combined = "127.0.0.1 - - T \"GET /a?b=c HTTP/1.1\" 200 12 \"http://a/\" \"Mozilla/5.0 (X11)\"\n";
        assert_eq!(line(Format::Combined, Some(&head), &ok(12)), combined);
    }

    #[test]
    fn what_is_not_there_is_a_hyphen_or_null() {
        let nothing = Outcome::default();
        assert_eq!(line(Format::Combined, None, &nothing), "127.0.0.1 - - T \"-\" - - \"-\" \"-\"\n");
        assert_eq!(
            line(Format::Json, None, &nothing),
            "{\"time\":\"2000-10-10T20:55:36.123Z\",\"remote\":\"127.0.0.1\",\"method\":null,\"target\":null,\
             \"protocol\":null,\"status\":null,\"bytes\":0,\"duration\":0.001500,\"referer\":null,\
             \"user_agent\":null,\"host\":null,\"upgrade\":null}\n"
        );
    }

    #[test]
    fn json_has_all_there_is_to_say() {
        let head = head(&[("host", b"a:80"), ("user-agent", b"curl/8")]);
        let traffic = Traffic { code: Some(1000), messages_in: 1, messages_out: 2, bytes_in: 3, bytes_out: 4 };
        let outcome = Outcome {
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
    fn apaches_formats_say_more_behind_what_they_have_a_place_for() {
        let head = head(&[]);
        let cut = Outcome { cut: true, ..ok(3) };
        assert!(line(Format::Common, Some(&head), &cut).ends_with(" 200 3 cut\n"));
        let closed = Outcome { closed: Some(Traffic { messages_out: 7, ..Traffic::default() }), ..ok(3) };
        let tail =
            " 200 3 \"-\" \"-\" closed code=- duration=0.001500 messages_in=0 messages_out=7 bytes_in=0 bytes_out=0\n";
        assert!(line(Format::Combined, Some(&head), &closed).ends_with(tail));
    }

    #[test]
    fn the_lost_are_told_of() {
        let time = SystemTime::UNIX_EPOCH + MOMENT;
        assert_eq!(lost(Format::Common, time, 7), "# 7 lines lost\n");
        assert_eq!(lost(Format::Json, time, 7), "{\"time\":\"2000-10-10T20:55:36.123Z\",\"lost\":7}\n");
    }

    #[test]
    fn apaches_time_is_local_and_says_its_offset() {
        let mut text = String::new();
        apache_time(&mut text, SystemTime::UNIX_EPOCH + MOMENT);
        let (date, offset) = text.split_once(' ').unwrap();
        assert!(offset.starts_with(['+', '-']) && offset.len() == 5, "{text}");
        assert!(date.len() == "10/Oct/2000:13:55:36".len() && date[3..].starts_with("Oct/2000:"), "{text}");
    }

    #[test]
    fn quotes_and_control_characters_are_escaped() {
        let mut text = String::new();
        apache_escaped(&mut text, b"a\"b\\c\n\r\t\x08\x0b\x00\x1b[m\x7f\xc3\xa9");
        assert_eq!(text, r#"a\"b\\c\n\r\t\b\v\x00\x1b[m\x7f\xc3\xa9"#);
        text.clear();
        json_field(&mut text, "host", Some(b"\"\xff"));
        assert_eq!(text, ",\"host\":\"\\\"\u{fffd}\"");
    }

    /// Undoes the escapes, as a reader of the log would.
    fn read_back(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            let number = |digits: String| u32::from_str_radix(&digits, 16).unwrap();
            let character = match character {
                '\\' => match rest.next().unwrap() {
                    'x' => {
                        bytes.push(number(rest.by_ref().take(2).collect()) as u8);
                        continue;
                    }
                    'b' => '\x08',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\x0b',
                    other => other,
                },
                other => other,
            };
            bytes.extend(character.to_string().bytes());
        }
        bytes
    }

    /// Where a string ends that begins with a quote: at the next one that is not escaped.
    fn closing_quote(text: &str) -> Option<usize> {
        let mut escaped = false;
        text.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })
    }

    proptest! {
        #[test]
        fn nothing_breaks_out_of_its_quotes(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut text = String::new();
            apache_escaped(&mut text, &value);
            prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(closing_quote(&format!("{text}\"")), Some(text.len()));
            prop_assert_eq!(read_back(&text), value);
        }

        #[test]
        fn any_request_is_one_line(target in "/[!-~]{0,30}", agent in proptest::collection::vec(any::<u8>(), 0..30)) {
            let Ok(uri) = target.parse::<http::Uri>() else { return Ok(()) };
            let Ok(agent) = HeaderValue::from_bytes(&agent) else { return Ok(()) };
            let (mut head, ()) = http::Request::new(()).into_parts();
            head.uri = uri;
            head.headers.insert(USER_AGENT, agent);
            for format in [Format::Common, Format::Combined, Format::Json] {
                let line = line(format, Some(&head), &ok(1));
                prop_assert_eq!(line.find(char::is_control), Some(line.len() - 1));
            }
        }
    }
}
