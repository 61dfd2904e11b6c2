//! Every bound and timeout of the server, in one table.
//!
//! The table is the only list: the command line, its help, the Ruby options and the
//! documentation are generated from [`Limits::table`].

use std::time::Duration;

use thiserror::Error;

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Seconds; fractions allowed.
    Seconds,
    /// Milliseconds, whole.
    Milliseconds,
    /// A number of things.
    Count,
}

impl Unit {
    /// The unit's name as the options spell it.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Bytes => "bytes",
            Unit::Seconds => "seconds",
            Unit::Milliseconds => "milliseconds",
            Unit::Count => "count",
        }
    }
}

/// One row of the table of limits.
#[derive(Debug, Clone)]
pub struct Row {
    /// The option's name in snake_case.
    pub name: &'static str,
    /// The default in `unit`. `None` means off, or that the server decides (`doc` says how).
    pub default: Option<f64>,
    /// The least value that works.
    pub least: f64,
    /// The most that works; `None`: any.
    pub most: Option<f64>,
    /// Whether it can be switched off.
    pub optional: bool,
    /// What the number counts.
    pub unit: Unit,
    /// What is limited and what happens beyond it.
    pub doc: &'static str,
}

/// A value that a limit cannot take.
#[derive(Debug, Error, PartialEq)]
pub enum LimitError {
    /// No limit has that name.
    #[error("no limit is called {0}")]
    Unknown(String),
    /// The number is not finite, below the least that works or above the most.
    #[error("{name} must be {} ({unit}), not {given}", range(*.least, *.most))]
    OutOfRange {
        /// The option's name.
        name: &'static str,
        /// The least value that works.
        least: f64,
        /// The most that works; `None`: any.
        most: Option<f64>,
        /// The unit's name.
        unit: &'static str,
        /// What was given.
        given: f64,
    },
    /// Only timeouts can be switched off.
    #[error("{0} cannot be switched off")]
    NotOptional(&'static str),
}

fn range(least: f64, most: Option<f64>) -> String {
    most.map_or_else(|| format!("at least {least}"), |most| format!("from {least} to {most}"))
}

/// A field of [`Limits`], seen as a number.
trait Field: Sized {
    const OPTIONAL: bool = false;

    fn number(&self, unit: Unit) -> Option<f64>;
    fn parse(number: Option<f64>, unit: Unit) -> Option<Self>;
}

impl Field for usize {
    fn number(&self, _: Unit) -> Option<f64> {
        Some(*self as f64)
    }

    fn parse(number: Option<f64>, _: Unit) -> Option<Self> {
        number.map(|n| n as usize)
    }
}

/// `None` means that the server decides.
impl Field for Option<usize> {
    fn number(&self, unit: Unit) -> Option<f64> {
        self.as_ref().and_then(|n| n.number(unit))
    }

    fn parse(number: Option<f64>, unit: Unit) -> Option<Self> {
        Some(number.and_then(|n| usize::parse(Some(n), unit)))
    }
}

impl Field for Duration {
    fn number(&self, unit: Unit) -> Option<f64> {
        let seconds = self.as_secs_f64();
        Some(if unit == Unit::Milliseconds { seconds * 1000.0 } else { seconds })
    }

    fn parse(number: Option<f64>, unit: Unit) -> Option<Self> {
        let scale = if unit == Unit::Milliseconds { 0.001 } else { 1.0 };
        // A century is as good as for ever, and cannot overflow an Instant.
        number.map(|n| Duration::from_secs_f64((n * scale).min(3.2e9)))
    }
}

impl Field for Option<Duration> {
    const OPTIONAL: bool = true;

    fn number(&self, unit: Unit) -> Option<f64> {
        self.as_ref().and_then(|d| d.number(unit))
    }

    fn parse(number: Option<f64>, unit: Unit) -> Option<Self> {
        Some(number.and_then(|n| Duration::parse(Some(n), unit)))
    }
}

macro_rules! most {
    () => {
        None
    };
    ($most:literal) => {
        Some($most)
    };
}

macro_rules! limits {
    ($( #[doc = $doc:literal] $name:ident: $type:ty = $default:expr, $unit:ident, $least:literal $(to $most:literal)?; )+) => {
        /// Every bound and timeout of the server. See [`Limits::table`] for units and defaults.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Limits {
            $( #[doc = $doc] pub $name: $type, )+
        }

        impl Default for Limits {
            fn default() -> Self {
                Limits { $( $name: $default, )+ }
            }
        }

        impl Limits {
            /// The table of limits: names, defaults, units, and what happens beyond each.
            pub fn table() -> Vec<Row> {
                let defaults = Limits::default();
                vec![ $( Row {
                    name: stringify!($name),
                    default: Field::number(&defaults.$name, Unit::$unit),
                    least: $least,
                    most: most!($($most)?),
                    optional: <$type as Field>::OPTIONAL,
                    unit: Unit::$unit,
                    doc: $doc.trim_ascii(),
                }, )+ ]
            }

            /// Sets the limit `name` to `value` (in the table's unit; `None` switches a timeout off, or leaves it to the server).
            pub fn set(&mut self, name: &str, value: Option<f64>) -> Result<(), LimitError> {
                match name {
                    $( stringify!($name) => {
                        let (name, least, most): (_, _, Option<f64>) = (stringify!($name), $least, most!($($most)?));
                        let fits = |n: f64| n.is_finite() && n >= least && most.is_none_or(|most| n <= most);
                        if let Some(given) = value.filter(|n| !fits(*n)) {
                            return Err(LimitError::OutOfRange { name, least, most, unit: Unit::$unit.name(), given });
                        }
                        self.$name = Field::parse(value, Unit::$unit)
                            .ok_or(LimitError::NotOptional(name))?;
                        Ok(())
                    } )+
                    _ => Err(LimitError::Unknown(name.to_owned())),
                }
            }
        }
    };
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

// A limit has a most if greater values would not work: hyper makes room for all headers with each request, its map of
// headers has 24 576 places, and it keeps the whole head in memory. A target has at most 65 534 bytes.
limits! {
    /// Request line and headers together. Beyond it the answer is 431 (RFC 6585 section 5)
    max_head_size: usize = 64 * KIB, Bytes, 8192.0 to 16_777_216.0;
    /// Number of request headers. Beyond it the answer is 431 (RFC 6585 section 5)
    max_headers: usize = 100, Count, 1.0 to 10_000.0;
    /// Request target. Beyond it the answer is 414 (RFC 9110 section 15.5.15)
    max_uri_size: usize = 16 * KIB, Bytes, 1.0 to 65_534.0;
    /// Request body, counted while it is read. Beyond it the answer is 413, and the connection is closed (RFC 9110 section 15.5.14)
    max_body_size: usize = 1024 * MIB, Bytes, 0.0;
    /// Part of a request body that is kept in memory. A longer body goes to a temporary file, which is then rack.input
    body_memory: usize = 112 * KIB, Bytes, 0.0;
    /// All request bodies in temporary files together. Default: a quarter of the free space in the temporary folder (TMPDIR) at the start, which workers share. Beyond it the answer is 503 with Retry-After, and the connection is closed
    max_spooled_total: Option<usize> = None, Bytes, 0.0;
    /// Time in which a client must begin its first request, and time for each request head. Beyond it the answer is 408, or the connection is closed if nothing came (RFC 9110 section 15.5.9)
    head_timeout: Duration = Duration::from_secs(15), Seconds, 0.01;
    /// Time in which body_progress bytes of a request body must come. Beyond it the answer is 408, and the connection is closed
    body_timeout: Duration = Duration::from_secs(30), Seconds, 0.01;
    /// Bytes of a request body that must come within each body_timeout
    body_progress: usize = KIB, Bytes, 1.0;
    /// Time that a connection may be idle between two requests. Then it is closed (RFC 9112 section 9.5)
    keep_alive_timeout: Duration = Duration::from_secs(65), Seconds, 0.01;
    /// Time in which a socket accepts nothing of a response. Then the connection is reset
    write_timeout: Duration = Duration::from_secs(30), Seconds, 0.01;
    /// Open connections, including streams. The limit of open files, which the server raises as far as it can, may lower it. Beyond it new connections wait
    max_connections: usize = 65_536, Count, 1.0;
    /// Time for the TLS handshake of a connection to an ssl:// endpoint. Beyond it the connection is closed
    handshake_timeout: Duration = Duration::from_secs(10), Seconds, 0.01;
    /// TLS handshakes at the same time. Beyond it new connections to ssl:// endpoints wait
    max_handshakes: usize = 1024, Count, 1.0;
    /// Streams of one HTTP/2 connection. Beyond it a stream is refused, and the client may open it later (RFC 9113 section 5.1.2)
    max_streams: usize = 250, Count, 1.0 to 10_000.0;
    /// Bytes of request bodies and WebSockets that all HTTP/2 connections have received and the app has not taken. Beyond it the stream that has most is reset
    max_h2_received: usize = 64 * MIB, Bytes, 65536.0;
    /// Streams of one HTTP/2 connection that its client resets in a second. Beyond it the connection is ended with ENHANCE_YOUR_CALM (RFC 9113 section 10.5)
    max_h2_resets: usize = 1000, Count, 1.0;
    /// Frames of one HTTP/2 connection that carry nothing, in a second: SETTINGS, PING, PRIORITY, CONTINUATION, empty DATA, unknown ones, and WINDOW_UPDATE without something sent. Beyond it the connection is ended with ENHANCE_YOUR_CALM (RFC 9113 section 10.5)
    max_h2_control_frames: usize = 1000, Count, 1.0;
    /// Requests that wait for a thread of the app. Beyond it the answer is 503 with Retry-After; a GET for an event stream gets 200 and retry:, and then the stream ends
    max_queue: usize = 1024, Count, 1.0;
    /// Threads of the app that are occupied by a long response body. Another thread replaces each of them. Beyond it the answer is 503
    max_streaming: usize = 100, Count, 0.0;
    /// A received WebSocket message. Beyond it the connection is closed with 1009 (RFC 6455 section 7.4.1)
    max_message_size: usize = MIB, Bytes, 1.0;
    /// Least length of a message that is compressed for WebSockets, with websocket_compression
    deflate_min_bytes: usize = 512, Bytes, 0.0;
    /// WebSockets of a process for which the server keeps what messages have contained, so that later messages may refer to it (about 48 KiB each), with websocket_compression. Beyond it clients compress each message by itself (RFC 7692 section 7.1.1.2)
    max_inflaters: usize = 1000, Count, 0.0;
    /// Received messages of one client that wait for their callback. Beyond it the server does not read from its socket
    mailbox_messages: usize = 64, Count, 1.0;
    /// Bytes of received messages of one client that wait for their callback. Beyond it the server does not read from its socket
    mailbox_bytes: usize = MIB, Bytes, 1.0;
    /// Bytes that wait for one client, queued or in channels. Beyond it the client is slow if its socket accepts nothing for slow_timeout
    slow_bytes: usize = MIB, Bytes, 0.0;
    /// Time in which the socket accepts nothing while slow_bytes wait. Then the client is slow
    slow_timeout: Duration = Duration::from_secs(10), Seconds, 0.01;
    /// Bytes that are queued for one client. Beyond it the client is slow at once. One message is always accepted
    max_queued_bytes: usize = 16 * MIB, Bytes, 1.0;
    /// Memory for what is queued for all clients. Default: a quarter of the memory of the machine or the container, at most 1 GiB, which workers share. Beyond it the slowest clients are closed with 1013
    max_queued_total: Option<usize> = None, Bytes, 65536.0;
    /// Memory for the messages of all channels of a process, including their encoded forms. Beyond it the slowest clients are closed or skip messages, then the largest histories become shorter
    channel_memory: usize = 64 * MIB, Bytes, 65536.0;
    /// Channels of a process that have messages or subscribers. Beyond it subscribe and publish raise an error
    max_channels: usize = 1_000_000, Count, 1.0;
    /// Channels and patterns to which one client subscribes. Beyond it subscribe raises an error
    max_subscriptions: usize = 128, Count, 1.0;
    /// Name of a channel, or of a member. Beyond it an ArgumentError is raised
    max_channel_name: usize = 255, Bytes, 1.0;
    /// Channel messages that one client gets at once. Then other clients get theirs
    batch_messages: usize = 300, Count, 1.0;
    /// Bytes of channel messages that one client gets at once. Then other clients get theirs
    batch_bytes: usize = 256 * KIB, Bytes, 1.0;
    /// Messages of a process that wait for their place in the order of all processes. Beyond it publish waits, at most publish_timeout. A single process has none
    publish_queue: usize = 10_000, Count, 1.0;
    /// Bytes of messages of a process that wait for their place in the order of all processes. Beyond it publish waits, at most publish_timeout. One message may always wait
    publish_queue_bytes: usize = 16 * MIB, Bytes, 1.0;
    /// Longest time that publish waits if the order of the messages is made outside this process and no message is accepted. Then publish raises an error. A single process never waits
    publish_timeout: Duration = Duration::from_secs(2), Seconds, 0.0;
    /// Time for which a member stays present after its last client has gone. Then the other members are told
    presence_linger: Duration = Duration::from_secs(15), Seconds, 0.0;
    /// Longest time that a long poll waits for a message, even if the client asks for more. Then the answer is empty
    max_poll_wait: Duration = Duration::from_secs(60), Seconds, 0.0;
    /// Time without a long poll after which a session ends and on_close is called. There are at most max_connections sessions. Beyond it the session that has been without a poll for the longest time ends
    poll_linger: Duration = Duration::from_secs(15), Seconds, 0.01;
    /// Silence of a WebSocket client after which the server pings it (RFC 6455 section 5.5.2)
    ping_interval: Option<Duration> = Some(Duration::from_secs(25)), Seconds, 0.01;
    /// Time in which a client must answer a ping. Then the connection is dropped, and on_close gets 1006
    pong_timeout: Duration = Duration::from_secs(10), Seconds, 0.01;
    /// Silence of an event stream after which the server sends a comment
    sse_heartbeat: Option<Duration> = Some(Duration::from_secs(15)), Seconds, 0.01;
    /// Time in which a client must take what is queued, or answer a Close frame. Then the connection is cut
    close_timeout: Duration = Duration::from_secs(5), Seconds, 0.01;
    /// Shortest time until an EventSource reconnects. Each stream gets a random time
    retry_min: Duration = Duration::from_millis(1000), Milliseconds, 0.0;
    /// Longest time until an EventSource reconnects
    retry_max: Duration = Duration::from_millis(3000), Milliseconds, 0.0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_defaults_can_be_set_again() {
        let mut limits = Limits::default();
        for row in Limits::table() {
            assert!(!row.doc.is_empty());
            limits.set(row.name, row.default).unwrap();
        }
        assert_eq!(limits, Limits::default());
    }

    #[test]
    fn seconds_and_milliseconds_are_told_apart() {
        let mut limits = Limits::default();
        limits.set("retry_min", Some(250.0)).unwrap();
        limits.set("pong_timeout", Some(0.5)).unwrap();
        assert_eq!(limits.retry_min, Duration::from_millis(250));
        assert_eq!(limits.pong_timeout, Duration::from_millis(500));
    }

    #[test]
    fn refuses_what_cannot_work() {
        let mut limits = Limits::default();
        let error = limits.set("max_queue", Some(0.0)).unwrap_err();
        assert_eq!(error.to_string(), "max_queue must be at least 1 (count), not 0");
        let error = limits.set("max_headers", Some(1e9)).unwrap_err();
        assert_eq!(error.to_string(), "max_headers must be from 1 to 10000 (count), not 1000000000");
        assert!(limits.set("max_queue", Some(f64::NAN)).is_err());
        assert_eq!(limits.set("max_queue", None), Err(LimitError::NotOptional("max_queue")));
        assert!(matches!(limits.set("max_qeue", Some(1.0)), Err(LimitError::Unknown(_))));
        limits.set("ping_interval", None).unwrap();
        assert_eq!(limits.ping_interval, None);
    }
}
