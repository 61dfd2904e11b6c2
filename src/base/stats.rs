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

    /// Exactly that, for a number that somebody else keeps.
    pub fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// That many more.
    pub fn add_many(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// No less than that, for a number that remembers the highest.
    pub fn at_least(&self, number: u64) {
        // The highest is seldom new: a load is cheaper.
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
    /// Connections accepted.
    connections;
    /// Requests whose head was understood.
    requests;
    /// WebSocket connections opened.
    websockets;
    /// Event streams opened.
    event_streams;
    /// Sessions of long polls begun.
    poll_sessions;
    /// Connections open now, of whatever kind.
    open_connections;
    /// Of these, WebSocket connections.
    open_websockets;
    /// Of these, event streams.
    open_event_streams;
    /// Sessions of long polls open now, with a connection or without.
    open_poll_sessions;
    /// WebSocket messages received.
    messages_in;
    /// WebSocket messages and events handed to the system: what was written to clients.
    messages_out;
    /// Bytes received.
    bytes_in;
    /// Bytes handed to the system.
    bytes_out;
    /// Jobs done: calls of the app, and turns of a client's events.
    jobs;
    /// Batches of jobs: each is one hold of Ruby's lock.
    batches;
    /// Jobs in the largest batch.
    largest_batch;
    /// How long all jobs have waited for a worker, in microseconds.
    queue_microseconds;
    /// How long the one that waited longest has waited, in microseconds.
    longest_queue_microseconds;
    /// How often the stand-in had to drive the reactor, because no worker had time to.
    stand_ins;
    /// Bytes queued for all clients together, with the overhead of keeping them.
    queued_bytes;
    /// Messages published in channels.
    published;
    /// Bytes that the channels' messages take.
    channel_bytes;
    /// Channels that have messages or readers.
    channels;
    /// Readers of channels: clients with subscriptions.
    readers;
    /// Requests with bad framing or a bad head, answered 400, 501 or 505.
    refused_heads;
    /// Targets over max_uri_size: 414.
    uri_too_long;
    /// Heads over max_head_size: 431.
    head_too_large;
    /// Bodies over max_body_size: 413.
    body_too_large;
    /// Bytes of request bodies that are in temporary files now.
    spooled_bytes;
    /// Bodies that would have passed max_spooled_total: 503.
    spool_full;
    /// Bodies that could not be written to a temporary file: 503 if the disk is full, or else 500.
    spool_errors;
    /// Requests that needed the disk thread while there was none: 503.
    disk_unavailable;
    /// Heads that took longer than head_timeout: 408, or closed.
    head_timeouts;
    /// Bodies without progress within body_timeout: 408.
    body_timeouts;
    /// Connections idle for keep_alive_timeout, closed.
    idle_timeouts;
    /// Responses that nobody took within write_timeout, reset.
    write_timeouts;
    /// Requests that found max_queue others waiting: 503, or 200 and the end to a GET for SSE.
    queue_full;
    /// WebSocket handshakes from foreign origins: 403.
    foreign_origins;
    /// Messages over max_message_size: 1009.
    message_too_big;
    /// Clients without a pong within pong_timeout: 1006.
    pong_timeouts;
    /// Slow clients closed: 1013.
    slow_clients;
    /// Slow clients closed because max_queued_total was exceeded; slow_clients counts them, too.
    crowded_out;
    /// Channel messages handed to clients.
    delivered;
    /// Gaps announced: of a channel, a client that came back had missed messages that are gone.
    gaps;
    /// Channel messages that slow clients have skipped (slow: :drop).
    drops;
    /// Clients closed because the memory of channels was full and messages that they had not got were freed.
    overruns;
    /// Lines of the access log that could not be written, or not fast enough.
    log_lines_lost;
}
