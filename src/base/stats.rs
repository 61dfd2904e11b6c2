//! Counters, always on: an atomic addition each.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows, or one that follows something up and down.
#[derive(Debug, Default)]
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

macro_rules! stats {
    ($( #[doc = $doc:literal] $name:ident; )+) => {
        /// What a server has counted since it was made.
        #[derive(Debug, Default)]
        pub struct Stats {
            $( #[doc = $doc] pub $name: Counter, )+
        }

        impl Stats {
            /// What each counter counts: name and explanation, in the order of [`Stats::all`].
            pub const TABLE: &'static [(&'static str, &'static str)] = &[ $( (stringify!($name), $doc), )+ ];

            /// All counters by name.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![ $( (stringify!($name), self.$name.get()), )+ ]
            }
        }
    };
}

stats! {
    /// Connections that the server has accepted.
    connections;
    /// Requests whose head was valid.
    requests;
    /// WebSocket connections that were opened.
    websockets;
    /// Event streams that were opened.
    event_streams;
    /// Sessions of long polls that have begun.
    poll_sessions;
    /// Connections of all kinds that are open now.
    open_connections;
    /// WebSocket connections that are open now.
    open_websockets;
    /// Event streams that are open now.
    open_event_streams;
    /// Sessions of long polls that are open now, with or without a waiting poll.
    open_poll_sessions;
    /// WebSocket messages received.
    messages_in;
    /// WebSocket messages and events that the app has written to clients and the server has given to the system.
    messages_out;
    /// Bytes received.
    bytes_in;
    /// Bytes given to the system.
    bytes_out;
    /// Jobs done. A job is a call of the app, or a run of one client's callbacks.
    jobs;
    /// Batches of jobs. The server takes Ruby's lock once for each batch.
    batches;
    /// Jobs in the largest batch.
    largest_batch;
    /// Time that all jobs together have waited for a worker, in microseconds.
    queue_microseconds;
    /// Longest time that one job has waited for a worker, in microseconds.
    longest_queue_microseconds;
    /// How often the standby thread had to drive the reactor because no worker was free.
    standby_turns;
    /// Bytes that are queued for all clients together now, including the memory for managing them.
    queued_bytes;
    /// Messages that were published in channels.
    published;
    /// Bytes that the messages of all channels take now.
    channel_bytes;
    /// Channels that have messages or readers now.
    channels;
    /// Readers of channels now. A reader is a client with subscriptions.
    readers;
    /// Requests with invalid framing or an invalid head: 400, 501 or 505.
    refused_heads;
    /// Request targets over max_uri_size: 414.
    uri_too_long;
    /// Request heads over max_head_size or max_headers: 431.
    head_too_large;
    /// Request bodies over max_body_size: 413.
    body_too_large;
    /// Bytes of request bodies that are in temporary files now.
    spooled_bytes;
    /// Request bodies that would have exceeded max_spooled_total: 503.
    spool_full;
    /// Request bodies that could not be written to a temporary file: 503 if the disk is full, else 500.
    spool_errors;
    /// Requests that needed the disk thread while there was none: 503.
    disk_unavailable;
    /// Request heads that took longer than head_timeout: 408, or the connection was closed.
    head_timeouts;
    /// Request bodies that came too slowly for body_timeout: 408.
    body_timeouts;
    /// Connections that were closed because they were idle for keep_alive_timeout.
    idle_timeouts;
    /// Connections that were reset because the client accepted nothing for write_timeout.
    write_timeouts;
    /// Requests that came while max_queue others waited: 503; for a GET for an event stream 200, and then the end.
    queue_full;
    /// WebSocket handshakes from foreign origins: 403.
    foreign_origins;
    /// WebSocket messages over max_message_size: closed with 1009.
    message_too_big;
    /// WebSocket clients that did not answer a ping within pong_timeout: 1006.
    pong_timeouts;
    /// Slow clients that were closed: 1013.
    slow_clients;
    /// Slow clients that were closed because max_queued_total was exceeded. slow_clients counts them too.
    crowded_out;
    /// Channel messages that were given to clients.
    delivered;
    /// Gaps: a client had missed messages of a channel, and the server no longer had them.
    gaps;
    /// Channel messages that slow clients have skipped (slow: :drop).
    drops;
    /// Clients that were closed because the memory for channels was full and messages were freed that they had not got.
    overruns;
    /// Lines of the access log that could not be written, or not fast enough.
    log_lines_lost;
}
