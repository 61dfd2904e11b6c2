//! Counters, always on: an atomic addition each.
//!
//! The counters of a server lie in its own memory, or in memory that it shares with other processes ([`slots`]). One table
//! says what each of them means.

pub mod histogram;
pub mod slots;

use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use histogram::Histogram;

/// A number that only grows, or one that follows something up and down.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less, for a number that goes up and down.
    pub fn sub(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Exactly that, for a number that is counted elsewhere.
    pub fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// That many more.
    pub fn add_many(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// That many more, where one thread at a time writes. This is not an atomic addition, which would cost more.
    pub fn add_alone(&self, count: u64) {
        self.0.store(self.get().wrapping_add(count), Ordering::Relaxed);
    }

    /// At least that, for a number that remembers the highest.
    pub fn at_least(&self, number: u64) {
        // A new highest number is rare, and a load is cheaper than a fetch_max.
        if self.get() < number {
            self.0.fetch_max(number, Ordering::Relaxed);
        }
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What becomes of a number when those of several processes are put together, and when its process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows. Those of several processes are added, also of those that have ended.
    Counter,
    /// It follows something up and down. Those of several processes are added; that of a process ends with it.
    Gauge,
    /// The highest number so far. Of several processes, the highest one counts, also of those that have ended.
    Maximum,
}

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Number,
    /// Bytes.
    Bytes,
    /// Microseconds.
    Microseconds,
}

/// A number of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it counts.
    pub unit: Unit,
    /// What it means, for people.
    pub doc: &'static str,
}

macro_rules! stats {
    (
        $( $( #[doc = $doc:literal] )+ $name:ident: $kind:ident, $unit:ident; )+
        histograms
        $( $( #[doc = $of:literal] )+ $histogram:ident; )+
    ) => {
        /// What a server has counted since it was made. It consists of 64-bit atomics alone, and all of them 0 is the
        /// beginning.
        #[derive(Debug, Default)]
        #[repr(C)]
        pub struct Stats {
            $( $( #[doc = $doc] )+ pub $name: Counter, )+
            $( $( #[doc = $of] )+ pub $histogram: Histogram, )+
        }

        impl Stats {
            /// What each number means, in the order of [`Stats::all`].
            pub const TABLE: &'static [Row] = &[
                $( Row {
                    name: stringify!($name),
                    kind: Kind::$kind,
                    unit: Unit::$unit,
                    doc: concat!($( $doc ),+),
                }, )+
            ];

            /// Names and meanings of the histograms, in the order of [`Stats::histograms`].
            pub const HISTOGRAMS: &'static [(&'static str, &'static str)] =
                &[ $( (stringify!($histogram), concat!($( $of ),+)), )+ ];

            /// All numbers by name.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![ $( (stringify!($name), self.$name.get()), )+ ]
            }

            /// All histograms by name.
            pub fn histograms(&self) -> Vec<(&'static str, &Histogram)> {
                vec![ $( (stringify!($histogram), &self.$histogram), )+ ]
            }

            /// All numbers with their kinds, in the order of [`Stats::TABLE`].
            pub fn numbers(&self) -> Vec<(Kind, &Counter)> {
                vec![ $( (Kind::$kind, &self.$name), )+ ]
            }
        }
    };
}

stats! {
    /// Connections that the server has accepted.
    connections: Counter, Number;
    /// Requests whose head was valid.
    requests: Counter, Number;
    /// Connections that spoke HTTP/2.
    h2_connections: Counter, Number;
    /// WebSocket connections that were opened.
    websockets: Counter, Number;
    /// Event streams that were opened.
    event_streams: Counter, Number;
    /// Sessions of long polls that have begun.
    poll_sessions: Counter, Number;
    /// Connections of all kinds that are open now.
    open_connections: Gauge, Number;
    /// Connections that speak HTTP/2 now.
    open_h2_connections: Gauge, Number;
    /// WebSocket connections that are open now.
    open_websockets: Gauge, Number;
    /// Event streams that are open now.
    open_event_streams: Gauge, Number;
    /// Sessions of long polls that are open now, with or without a waiting poll.
    open_poll_sessions: Gauge, Number;
    /// WebSocket messages received.
    messages_in: Counter, Number;
    /// WebSocket messages and events that the app has written to clients and the server has given to the system.
    messages_out: Counter, Number;
    /// Bytes received.
    bytes_in: Counter, Bytes;
    /// Bytes given to the system.
    bytes_out: Counter, Bytes;
    /// Jobs done. A job is a call of the app, or a run of one client's callbacks.
    jobs: Counter, Number;
    /// Batches of jobs. The server takes Ruby's lock once for each batch.
    batches: Counter, Number;
    /// Jobs in the largest batch.
    largest_batch: Maximum, Number;
    /// Time that all jobs together have waited for a thread of the app, in microseconds.
    queue_microseconds: Counter, Microseconds;
    /// Longest time that one job has waited for a thread of the app, in microseconds.
    longest_queue_microseconds: Maximum, Microseconds;
    /// How often the standby thread had to drive the reactor because no thread of the app was free.
    standby_turns: Counter, Number;
    /// Bytes that are queued for all clients together now, including the memory for managing them.
    queued_bytes: Gauge, Bytes;
    /// Messages that were published in channels.
    published: Counter, Number;
    /// Bytes that the messages of all channels take now.
    channel_bytes: Gauge, Bytes;
    /// Channels that have messages or readers now.
    channels: Gauge, Number;
    /// Readers of channels now. A reader is a client with subscriptions.
    readers: Gauge, Number;
    /// Requests with invalid framing or an invalid head: 400, 501 or 505.
    refused_heads: Counter, Number;
    /// Request targets over max_uri_size: 414.
    uri_too_long: Counter, Number;
    /// Request heads over max_head_size or max_headers: 431.
    head_too_large: Counter, Number;
    /// Request bodies over max_body_size: 413.
    body_too_large: Counter, Number;
    /// Bytes of request bodies that are in temporary files now.
    spooled_bytes: Gauge, Bytes;
    /// Request bodies that would have exceeded max_spooled_total: 503.
    spool_full: Counter, Number;
    /// Request bodies that could not be written to a temporary file: 503 if the disk is full, else 500.
    spool_errors: Counter, Number;
    /// Requests that needed the disk thread while there was none: 503.
    disk_unavailable: Counter, Number;
    /// Request heads that took longer than head_timeout: 408, or the connection was closed.
    head_timeouts: Counter, Number;
    /// Request bodies that came too slowly for body_timeout: 408.
    body_timeouts: Counter, Number;
    /// Connections that were closed because they were idle for keep_alive_timeout.
    idle_timeouts: Counter, Number;
    /// Connections that were reset because the client accepted nothing for write_timeout.
    write_timeouts: Counter, Number;
    /// TLS handshakes that succeeded.
    tls_handshakes: Counter, Number;
    /// TLS handshakes that resumed a session. tls_handshakes counts them too.
    tls_resumed: Counter, Number;
    /// TLS handshakes that failed.
    tls_failures: Counter, Number;
    /// TLS handshakes that took longer than handshake_timeout.
    handshake_timeouts: Counter, Number;
    /// Connections to an ssl:// endpoint that did not speak TLS: 400.
    tls_plain_requests: Counter, Number;
    /// HTTP/2 connections that were ended because of max_h2_resets.
    h2_reset_floods: Counter, Number;
    /// HTTP/2 connections that were ended because of max_h2_control_frames, or of fixed bounds: 100 empty DATA frames, 10 CONTINUATION frames of a header block, max_streams resets at once, 1024 streams that the server had to reset.
    h2_control_floods: Counter, Number;
    /// Streams of HTTP/2 that were refused because the app still had twice max_streams requests of their connection, which the client had reset.
    h2_refused_streams: Counter, Number;
    /// HTTP/2 connections that were ended because the client broke the protocol (RFC 9113 section 5.4.1).
    h2_protocol_errors: Counter, Number;
    /// Streams of HTTP/2 that were reset because of max_h2_received.
    h2_crowded_out: Counter, Number;
    /// Requests that came while max_queue others waited: 503; for a GET for an event stream 200, and then the end.
    queue_full: Counter, Number;
    /// WebSocket handshakes from foreign origins: 403.
    foreign_origins: Counter, Number;
    /// WebSocket messages over max_message_size: closed with 1009.
    message_too_big: Counter, Number;
    /// WebSocket connections that were opened with permessage-deflate.
    compressed_websockets: Counter, Number;
    /// Compressed WebSocket messages received.
    inflations: Counter, Number;
    /// Bytes of the compressed WebSocket messages received, as they came.
    inflation_bytes_in: Counter, Bytes;
    /// Bytes of the compressed WebSocket messages received, after inflating.
    inflation_bytes_out: Counter, Bytes;
    /// WebSocket clients now that may refer to their earlier messages when they compress.
    inflaters: Gauge, Number;
    /// WebSocket connections that could not get that because there were max_inflaters.
    inflaters_full: Counter, Number;
    /// Messages that were compressed for WebSockets. A message of a channel is compressed once for all clients of a process
    /// whose window is as large.
    deflations: Counter, Number;
    /// Bytes of the messages that were compressed for WebSockets, before.
    deflation_bytes_in: Counter, Bytes;
    /// Bytes of the messages that were compressed for WebSockets, after.
    deflation_bytes_out: Counter, Bytes;
    /// WebSocket clients that did not answer a ping within pong_timeout: 1006.
    pong_timeouts: Counter, Number;
    /// Slow clients that were closed: 1013.
    slow_clients: Counter, Number;
    /// Slow clients that were closed because max_queued_total was exceeded. slow_clients counts them too.
    crowded_out: Counter, Number;
    /// Channel messages that were given to clients.
    delivered: Counter, Number;
    /// Gaps: a client had missed messages of a channel, and the server no longer had them.
    gaps: Counter, Number;
    /// Channel messages that slow clients have skipped (slow: :drop).
    drops: Counter, Number;
    /// Clients that were closed because the memory for channels was full and messages were freed that they had not got.
    overruns: Counter, Number;
    /// Lines of the access log that could not be written, or not fast enough.
    log_lines_lost: Counter, Number;
    /// Time that threads of the app which had a job have waited for Ruby's lock, in microseconds.
    gvl_wait_microseconds: Counter, Microseconds;
    /// Worker processes that ended without having been told to, so that another one was started in the place of each.
    worker_restarts: Counter, Number;
    /// Hubs that ended without having been told to, so that another one was started.
    hub_restarts: Counter, Number;

    histograms
    /// How long jobs have waited for a thread of the app.
    queue_time;
    /// How long requests took that were answered with 1xx: from the end of the head to the end of the response. WebSockets
    /// count here, until they are open. A request without a response counts nowhere.
    request_time_1xx;
    /// The same for 2xx. Event streams count until they are open, and long polls until the app has let them in.
    request_time_2xx;
    /// The same for 3xx.
    request_time_3xx;
    /// The same for 4xx.
    request_time_4xx;
    /// The same for 5xx.
    request_time_5xx;
    /// How long messages of channels took from their publication, in any process, until the socket of a client has taken them.
    /// If a client gets several at once, the newest one counts. Messages of the history and long polls do not count.
    delivery_time;
}

/// 64-bit numbers of [`Stats`].
const NUMBERS: usize = size_of::<Stats>() / size_of::<AtomicU64>();

impl Stats {
    /// Counters in memory of others, from its beginning on. `None` if it is too short.
    pub fn over(memory: &[AtomicU64]) -> Option<&Stats> {
        let start = memory.get(..NUMBERS)?.as_ptr();
        // SAFETY: `Stats` has the layout of so many AtomicU64 (repr(C) and repr(transparent) down to them), all of their
        // values are valid, and the result borrows from the memory.
        Some(unsafe { &*start.cast::<Stats>() })
    }

    /// The counters as bare numbers.
    fn bare(&self) -> &[AtomicU64] {
        // SAFETY: as above, the other way round.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(self).cast(), NUMBERS) }
    }

    /// Adds what `other` has counted: counters and histograms are added, and of maxima the higher one stays. Gauges are added
    /// only if `gauges` says so.
    pub fn merge(&self, other: &Stats, gauges: bool) {
        for ((kind, own), (_, other)) in self.numbers().into_iter().zip(other.numbers()) {
            match kind {
                Kind::Counter => own.add_many(other.get()),
                Kind::Gauge if gauges => own.add_many(other.get()),
                Kind::Gauge => {}
                Kind::Maximum => own.at_least(other.get()),
            }
        }
        for ((_, own), (_, other)) in self.histograms().into_iter().zip(other.histograms()) {
            own.merge(other);
        }
    }

    /// The histogram of requests with this status.
    pub fn request_time(&self, status: u16) -> &Histogram {
        match status {
            ..200 => &self.request_time_1xx,
            200..300 => &self.request_time_2xx,
            300..400 => &self.request_time_3xx,
            400..500 => &self.request_time_4xx,
            500.. => &self.request_time_5xx,
        }
    }

    /// Sets all to 0.
    fn clear(&self) {
        self.bare().iter().for_each(|number| number.store(0, Ordering::Relaxed));
    }
}

/// The counters of one server, wherever they are. A clone counts in the same ones. Any thread.
#[derive(Debug, Clone)]
pub struct StatsHandle {
    stats: NonNull<Stats>,
    /// Keeps the memory.
    _owner: Owner,
}

#[derive(Debug, Clone)]
#[expect(dead_code, reason = "they are kept, not read")]
enum Owner {
    Process(Arc<Stats>),
    Shared(Arc<slots::Slots>),
}

// SAFETY: it refers to atomics alone, and keeps their memory.
unsafe impl Send for StatsHandle {}
// SAFETY: as above.
unsafe impl Sync for StatsHandle {}

impl StatsHandle {
    /// The counters of a slot. `None` if there is no such slot.
    pub fn of_slot(slots: Arc<slots::Slots>, number: usize) -> Option<Self> {
        let stats = NonNull::from(slots.stats(number)?);
        Some(StatsHandle { stats, _owner: Owner::Shared(slots) })
    }
}

impl Default for StatsHandle {
    /// Counters in the memory of this process.
    fn default() -> Self {
        let own = Arc::<Stats>::default();
        StatsHandle { stats: NonNull::from(&*own), _owner: Owner::Process(own) }
    }
}

impl Deref for StatsHandle {
    type Target = Stats;

    fn deref(&self) -> &Stats {
        // SAFETY: the owner keeps the memory, and nobody gets it mutably.
        unsafe { self.stats.as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_several_processes_are_put_together() {
        let [sum, one, other] = [(); 3].map(|()| Stats::default());
        for (stats, count) in [(&one, 3), (&other, 2)] {
            stats.requests.add_many(count);
            stats.open_connections.set(count);
            stats.largest_batch.at_least(count);
            stats.queue_time.observe(count * 1_000_000);
        }
        sum.merge(&one, true);
        sum.merge(&other, false);
        let numbers = [&sum.requests, &sum.open_connections, &sum.largest_batch].map(Counter::get);
        assert_eq!((numbers, sum.queue_time.count()), ([5, 3, 3], 2));
        sum.clear();
        assert!(sum.bare().iter().all(|number| number.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn the_table_has_each_number() {
        let stats = Stats::default();
        let histograms: usize = stats.histograms().iter().map(|(_, histogram)| size_of_val(*histogram) / 8).sum();
        assert_eq!(Stats::TABLE.len() + histograms, NUMBERS);
        let names: Vec<_> = stats.all().into_iter().map(|(name, _)| name).collect();
        assert_eq!(Stats::TABLE.iter().map(|row| row.name).collect::<Vec<_>>(), names);
        assert!(Stats::over(&[const { AtomicU64::new(0) }; NUMBERS - 1]).is_none());
    }
}
