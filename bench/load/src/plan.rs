//! The command line.

use std::time::Duration;

use crate::net::connect::Target;
use crate::protocol::stream::Stream;
use crate::ring::LEAST_TEXT;
use crate::session::Schedule;

/// What `--help` prints.
pub const HELP: &str = "\
A load generator for web servers on this machine: it connects to 127.0.0.1 and nowhere else, checks every answer byte
for byte, and prints what it measured as a line of JSON.

Usage: load KIND --port PORT [options]

Kinds:
  http       requests on keep-alive connections, one at a time on each: GET, or, with --size, POST of a body that must
             come back
  paced      GET requests at a fixed rate, of which some may be slow; latencies are those of the others, from the time
             when each was due
  echo       messages on WebSockets, which must come back
  broadcast  messages on one WebSocket (--path), which must come to all --connections listeners (--listen-path), each of
             which must first be told \"ready\"
  tide       messages at a fixed rate on one WebSocket (--path), which must come to all --connections listeners
             (--listen-path); --stuck more never read
  idle       WebSockets that say nothing, but answer pings; with --streams event streams
  handshakes connections with a TLS handshake and nothing else, one after the other

Options:
  --port PORT          where the server listens
  --scheme SCHEME      http or https: TLS 1.3 with TLS_AES_128_GCM_SHA256 and X25519; no certificate is verified [http]
  --path PATH          what is asked for [/]
  --listen-path PATH   broadcast, tide: what listeners ask for [/listen]
  --stream KIND        broadcast, tide: what listeners are: websocket or sse; broadcast: or deflate, a WebSocket with
                       compressed messages [websocket]
  --message KIND       broadcast: what messages are: text, or json as of a shop [text]
  --expect TEXT        http, paced: the body of answers to GET [hello world]
  --connections N      [1]
  --streams N          broadcast, idle: event streams on each connection, which speaks HTTP/2 [none: HTTP/1.1]
  --size BYTES         of a message, or a request's body: 12 to 60000 [64]
  --in-flight N        echo: messages on their way on each connection; broadcast: together [1]
  --rate N             paced: requests a second; tide: messages a second [100]
  --stuck N            tide: listeners that never read [0]
  --slow-every N       paced: each Nth request asks for --slow-path instead [none]
  --slow-path PATH     [/slow]
  --slow-expect TEXT   the body of answers to that [slow]
  --warm-up SECONDS    how long the load runs before anything is counted [1]
  --seconds SECONDS    how long it is measured, at most 600 [5]
  --operations N       http, echo, broadcast: what is measured is not a time but N operations, after N that warm the
                       server up. Before, between and after these, with no answer on its way, print \"pause\" and wait for
                       a line on the standard input
  --pid PID            the server: its CPU and memory are measured, with those of its descendants
  --help               print this

It ends with status 0, with 1 when an answer was wrong, late or missing, with 2 when it does not understand its command
line, and with 3 when the server did not accept an upgrade.
";

/// The most connections: more would need more than one local address.
const MOST_CONNECTIONS: usize = 28_000;

/// The kinds of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// See `loads::http`.
    Http,
    /// See `loads::paced`.
    Paced,
    /// See `loads::echo`.
    Echo,
    /// See `loads::broadcast`.
    Broadcast,
    /// See `loads::idle`.
    Idle,
    /// See `loads::tide`.
    Tide,
    /// See `loads::handshakes`.
    Handshakes,
}

/// What messages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// See `ring::text`.
    Text,
    /// See `ring::json`.
    Json,
}

/// A load, as [`HELP`] describes its parts.
#[derive(Debug)]
pub struct Plan {
    pub kind: Kind,
    pub port: u16,
    pub encrypted: bool,
    pub path: String,
    pub listen_path: String,
    pub stream: Stream,
    pub message: Message,
    pub expect: String,
    pub connections: usize,
    pub streams: Option<usize>,
    pub size: Option<usize>,
    pub in_flight: usize,
    pub rate: u64,
    pub stuck: usize,
    pub slow_every: Option<u64>,
    pub slow_path: String,
    pub slow_expect: String,
    pub schedule: Schedule,
    pub pid: Option<i32>,
}

impl Plan {
    fn new(kind: Kind) -> Self {
        Plan {
            kind,
            port: 0,
            encrypted: kind == Kind::Handshakes,
            path: "/".into(),
            listen_path: "/listen".into(),
            stream: Stream::WebSocket,
            message: Message::Text,
            expect: "hello world".into(),
            connections: 1,
            streams: None,
            size: None,
            in_flight: 1,
            rate: 100,
            stuck: 0,
            slow_every: None,
            slow_path: "/slow".into(),
            slow_expect: "slow".into(),
            schedule: Schedule { warm_up: Duration::from_secs(1), measured: Duration::from_secs(5), operations: None },
            pid: None,
        }
    }

    /// Where the server listens.
    pub fn target(&self) -> Target {
        Target { port: self.port, encrypted: self.encrypted }
    }

    /// The size of a message where there must be one.
    pub fn message_size(&self) -> usize {
        self.size.unwrap_or(64)
    }

    fn set(&mut self, option: &str, value: String) -> Result<(), String> {
        match option {
            "--port" => self.port = number(option, &value, 1, u16::MAX)?,
            "--scheme" => self.encrypted = encrypted(option, &value)?,
            "--path" => self.path = path(option, value)?,
            "--listen-path" => self.listen_path = path(option, value)?,
            "--stream" => self.stream = stream(option, &value)?,
            "--message" => self.message = message(option, &value)?,
            "--expect" => self.expect = value,
            "--connections" => self.connections = number(option, &value, 1, MOST_CONNECTIONS)?,
            "--streams" => self.streams = Some(number(option, &value, 1, 250)?),
            "--size" => self.size = Some(number(option, &value, LEAST_TEXT, 60_000)?),
            "--in-flight" => self.in_flight = number(option, &value, 1, 1024)?,
            "--rate" => self.rate = number(option, &value, 1, 1_000_000)?,
            "--stuck" => self.stuck = number(option, &value, 0, 1000)?,
            "--slow-every" => self.slow_every = Some(number(option, &value, 2, u64::MAX)?),
            "--slow-path" => self.slow_path = path(option, value)?,
            "--slow-expect" => self.slow_expect = value,
            "--warm-up" => self.schedule.warm_up = seconds(option, &value)?,
            "--seconds" => self.schedule.measured = seconds(option, &value)?,
            "--operations" => self.schedule.operations = Some(number(option, &value, 1, u64::MAX)?),
            "--pid" => self.pid = Some(number(option, &value, 1, i32::MAX)?),
            _ => return Err(format!("there is no option {option}")),
        }
        Ok(())
    }
}

/// The plan that the arguments (without the program's name) describe; `None` if they ask for the [`HELP`]. The error says
/// what is wrong with them.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Option<Plan>, String> {
    let mut arguments = arguments.into_iter();
    let kind = match arguments.next().as_deref() {
        Some("http") => Kind::Http,
        Some("paced") => Kind::Paced,
        Some("echo") => Kind::Echo,
        Some("broadcast") => Kind::Broadcast,
        Some("idle") => Kind::Idle,
        Some("tide") => Kind::Tide,
        Some("handshakes") => Kind::Handshakes,
        Some("--help" | "-h") => return Ok(None),
        Some(other) => return Err(format!("there is no kind of load called {other}")),
        None => return Err("which kind of load?".into()),
    };
    let mut plan = Plan::new(kind);
    while let Some(option) = arguments.next() {
        if matches!(option.as_str(), "--help" | "-h") {
            return Ok(None);
        }
        let value = arguments.next().ok_or_else(|| format!("{option} needs a value"))?;
        plan.set(&option, value)?;
    }
    if plan.port == 0 {
        Err("--port is missing".into())
    } else if plan.schedule.operations.is_some() && !matches!(kind, Kind::Http | Kind::Echo | Kind::Broadcast) {
        Err("--operations is for http, echo and broadcast".into())
    } else {
        Ok(Some(plan))
    }
}

fn number<N: std::str::FromStr + PartialOrd + std::fmt::Display>(
    option: &str,
    value: &str,
    least: N,
    most: N,
) -> Result<N, String> {
    let number = value.parse().ok().filter(|number| (&least..=&most).contains(&number));
    number.ok_or_else(|| format!("{option} is '{value}', but must be a number from {least} to {most}"))
}

fn seconds(option: &str, value: &str) -> Result<Duration, String> {
    number(option, value, 0.0, 600.0).map(Duration::from_secs_f64)
}

fn path(option: &str, value: String) -> Result<String, String> {
    let fine = value.starts_with('/') && value.bytes().all(|byte| byte.is_ascii_graphic());
    if fine { Ok(value) } else { Err(format!("{option} is '{value}', but must be a path, such as /hello")) }
}

fn encrypted(option: &str, value: &str) -> Result<bool, String> {
    match value {
        "http" => Ok(false),
        "https" => Ok(true),
        _ => Err(format!("{option} is '{value}', but must be http or https")),
    }
}

fn stream(option: &str, value: &str) -> Result<Stream, String> {
    match value {
        "websocket" => Ok(Stream::WebSocket),
        "sse" => Ok(Stream::Sse),
        "deflate" => Ok(Stream::Deflated),
        _ => Err(format!("{option} is '{value}', but must be websocket, deflate or sse")),
    }
}

fn message(option: &str, value: &str) -> Result<Message, String> {
    match value {
        "text" => Ok(Message::Text),
        "json" => Ok(Message::Json),
        _ => Err(format!("{option} is '{value}', but must be text or json")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<Plan>, String> {
        parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn takes_options_in_any_order() {
        let Ok(Some(plan)) = parsed("echo --connections 100 --port 9292 --seconds 0.5 --path /echo") else {
            panic!("not understood");
        };
        assert_eq!((plan.kind, plan.port, plan.connections, plan.path.as_str()), (Kind::Echo, 9292, 100, "/echo"));
        assert_eq!(plan.schedule.measured, Duration::from_millis(500));
    }

    #[test]
    fn says_what_is_wrong() {
        for (line, complaint) in [
            ("", "which kind of load?"),
            ("dance", "there is no kind of load called dance"),
            ("echo", "--port is missing"),
            ("paced --port 9292 --operations 10", "--operations is for http, echo and broadcast"),
            ("echo --port", "--port needs a value"),
            ("echo --host 10.0.0.1", "there is no option --host"),
            ("echo --port 70000", "--port is '70000', but must be a number from 1 to 65535"),
            ("echo --seconds -1", "--seconds is '-1', but must be a number from 0 to 600"),
            ("echo --seconds NaN", "--seconds is 'NaN', but must be a number from 0 to 600"),
            ("http --path hello", "--path is 'hello', but must be a path, such as /hello"),
        ] {
            assert_eq!(parsed(line).err().as_deref(), Some(complaint), "{line}");
        }
    }
}
