//! What the app has written to clients whose streams are parked.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as TaskContext, Poll};

use super::table::{Outlet, PIECE, PIECES, Rest, Table};
use crate::base;
use crate::push::Context;
use crate::push::queue::{Frame, Origin, Sent};

/// If more bytes than this wait, the stream sends them itself: the socket may take only some of them.
const MAX_BYTES: usize = 64 << 10;

/// The task that sends what the app has written. Spawn it on the reactor; it ends with that.
pub struct Writing {
    context: Arc<Context>,
    /// What was taken off the list [`super::FanOut::written`], and how many of them are done.
    outlets: Vec<Outlet>,
    done: usize,
}

impl Writing {
    /// From now on, what the app writes to a parked stream does not wake it. To be called before there are streams.
    pub fn new(context: Arc<Context>) -> Self {
        context.fan_out.writes.store(true, Ordering::Relaxed);
        Writing { context, outlets: Vec::new(), done: 0 }
    }

    /// Sends what was written to at most [`PIECE`] clients. Returns how many there were; 0 if the list is empty, too.
    fn send_some(&mut self) -> usize {
        let Context { fan_out, base, .. } = &*self.context;
        if self.done == self.outlets.len() {
            self.outlets.clear();
            self.done = 0;
            // A broadcast must not leave its memory behind.
            if self.outlets.capacity() > 1024 {
                self.outlets = Vec::new();
            }
            std::mem::swap(&mut self.outlets, &mut fan_out.written.lock());
        }
        let piece = &self.outlets[self.done..self.outlets.len().min(self.done + PIECE)];
        let length = piece.len();
        if length > 0 {
            self.done += length;
            fan_out.table.lock().send_written(piece, base);
        }
        length
    }
}

impl Future for Writing {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        // Before it looks: what is written from now on wakes it again.
        self.context.fan_out.writing.register(cx.waker());
        let mut sent = 0;
        while sent < PIECE * PIECES {
            match self.send_some() {
                // Only now, because a write wakes this task only if the list was empty.
                0 => return Poll::Pending,
                PIECE => self.context.base.timers.begin_turn(),
                _ => {}
            }
            sent += PIECE;
        }
        // The rest follows when other tasks have run and the reactor has looked for events.
        let _pending = pin!(tokio::task::yield_now()).poll(cx);
        Poll::Pending
    }
}

impl Table {
    /// Sends what was written to these clients, or wakes their streams.
    fn send_written(&mut self, outlets: &[Outlet], base: &base::Context) {
        let now = base.timers.stamp();
        let (mut all_bytes, mut all_writes) = (0, 0);
        let Table { entries, rests, frames, joined, .. } = self;
        for outlet in outlets {
            let Some(entry) = entries.get_mut(outlet.number() as usize).and_then(Option::as_mut) else { continue };
            let room = if entry.is_parked(now) { Some(MAX_BYTES) } else { None };
            if let Some(task) = entry.client.take_written(room, frames) {
                task.wake();
                continue;
            }
            if frames.is_empty() {
                continue;
            }
            let bytes = match &frames[..] {
                [only] => &only.bytes[..],
                several => {
                    joined.clear();
                    several.iter().for_each(|frame| joined.extend_from_slice(&frame.bytes));
                    &joined[..]
                }
            };
            let taken = entry.send(bytes, now);
            all_bytes += taken as u64;
            if taken == bytes.len() {
                let writes = frames.iter().filter(|frame| frame.origin == Origin::Write).count();
                all_writes += writes as u64;
                entry.writes += writes as u32;
                entry.client.sent(&Sent { writes, bytes: taken });
                frames.clear();
            } else {
                let frames: Vec<Frame> = std::mem::take(frames);
                rests.insert(outlet.number(), Rest { frames, taken, newest: None });
                entry.give_back();
            }
        }
        base.stats.bytes_out.add_many(all_bytes);
        base.stats.messages_out.add_many(all_writes);
        if joined.capacity() > MAX_BYTES {
            *joined = Vec::new();
        }
    }
}
