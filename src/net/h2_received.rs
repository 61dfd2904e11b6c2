//! A bound for what all HTTP/2 connections have received and not read (`max_h2_received`).
//!
//! A client may send a window full for each stream. A stream whose app or disk is behind keeps that. To know exactly how
//! much all streams keep would cost a lock for each frame, so this counts roughly: what has come, less what was read. Only
//! when that is too much, it asks each stream.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use h2::{FlowControl, RecvStream};

use crate::base::lock::Lock;

/// What the streams of all connections have received. Any thread.
#[derive(Debug)]
pub struct Received {
    most: usize,
    /// What they keep, or more.
    roughly: AtomicUsize,
    streams: Lock<Streams>,
}

#[derive(Debug, Default)]
struct Streams {
    next: u64,
    all: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    flow: FlowControl,
    crowded_out: Arc<CrowdedOut>,
}

/// Whether a stream must be reset.
#[derive(Debug, Default)]
struct CrowdedOut {
    happened: AtomicBool,
    task: AtomicWaker,
}

impl Received {
    /// At most `most` bytes.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Received { most, roughly: AtomicUsize::new(0), streams: Lock::default() })
    }

    /// So many bytes have come. Returns whether [`Received::relieve`] must be called.
    pub fn add(&self, bytes: usize) -> bool {
        self.roughly.fetch_add(bytes, Ordering::Relaxed) + bytes > self.most
    }

    fn release(&self, bytes: usize) {
        // Less is released than has come, unless a count has begun anew in between.
        let less = |now: usize| Some(now.saturating_sub(bytes));
        let _ = self.roughly.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Counts exactly. If it is too much, has the stream reset that keeps most, and returns true.
    pub fn relieve(&self) -> bool {
        let streams = self.streams.lock();
        let kept = || streams.all.values().filter(|entry| !entry.crowded_out.happened.load(Ordering::Relaxed));
        let counted: Vec<_> = kept().map(|entry| (entry.flow.used_capacity(), &entry.crowded_out)).collect();
        let sum = counted.iter().map(|(bytes, _)| bytes).sum();
        self.roughly.store(sum, Ordering::Relaxed);
        let largest = counted.iter().max_by_key(|(bytes, _)| bytes).filter(|_| sum > self.most);
        if let Some((bytes, crowded_out)) = largest {
            crowded_out.happened.store(true, Ordering::Release);
            crowded_out.task.wake();
            self.release(*bytes);
        }
        largest.is_some()
    }
}

/// What comes in by one stream.
#[derive(Debug)]
pub struct Receiving {
    stream: RecvStream,
    received: Arc<Received>,
    number: u64,
    crowded_out: Arc<CrowdedOut>,
}

impl Receiving {
    /// The stream, as one of all that count.
    pub fn new(mut stream: RecvStream, received: Arc<Received>) -> Self {
        let crowded_out = Arc::new(CrowdedOut::default());
        let entry = Entry { flow: stream.flow_control().clone(), crowded_out: Arc::clone(&crowded_out) };
        let mut streams = received.streams.lock();
        let number = streams.next;
        streams.next += 1;
        streams.all.insert(number, entry);
        drop(streams);
        Receiving { stream, received, number, crowded_out }
    }

    /// The next bytes; `None` at the end. They count until [`Receiving::release`].
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        self.stream.poll_data(cx)
    }

    /// Whether no bytes follow.
    pub fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    /// Bytes were read. The client may send as many more.
    pub fn release(&mut self, bytes: usize) {
        // Fails only if more is released than came.
        let _ = self.stream.flow_control().release_capacity(bytes);
        self.received.release(bytes);
    }

    /// Whether the stream must be reset, because too much waits in all streams, and most of it in this one.
    pub fn is_crowded_out(&self) -> bool {
        self.crowded_out.happened.load(Ordering::Acquire)
    }

    /// Sets the task that is woken when the stream is crowded out.
    pub fn wake_if_crowded_out(&self, task: &Waker) {
        self.crowded_out.task.register(task);
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        // The connection gives back what was not read.
        if !self.is_crowded_out() {
            self.received.release(self.stream.flow_control().used_capacity());
        }
        let entry = self.received.streams.lock().all.remove(&self.number);
        // Not under the lock: h2 takes its own.
        drop(entry);
    }
}
