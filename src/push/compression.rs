//! What is compressed for one client: the messages that the app writes to it. Those of channels are compressed once for many
//! clients, in the channels.

use super::Client;
use super::queue::{Frame, Origin};
use crate::base::stats::Stats;
use crate::channel::Deflations;
use crate::sse;
use crate::websocket::Opcode;
use crate::websocket::deflate::compress;
use crate::websocket::frame::each_frame;

/// A write that is ready to be sent: compressed, unless that makes it no shorter.
pub struct Compressed(Vec<Frame>);

impl Client {
    /// Whether a write of so many bytes is to be compressed. The app may know better.
    pub fn compresses(&self, length: usize) -> bool {
        self.encoding().deflate.is_some() && length >= self.context().base.limits.deflate_min_bytes
    }

    /// Compresses a WebSocket message; `text` says that `payload` is valid UTF-8. Takes time, and no lock: any thread.
    pub fn compress_message(&self, text: bool, payload: &[u8]) -> Compressed {
        let opcode = if text { Opcode::Text } else { Opcode::Binary };
        let compressed = self.encoding().deflate.and_then(|window| compress(opcode, payload, window));
        let Some(bytes) = compressed else { return Compressed(Frame::message(opcode, payload).collect()) };
        let mut deflations = Deflations::default();
        deflations.add(payload.len(), bytes.len());
        count(&self.context().base.stats, &deflations);
        let mut frames = Vec::new();
        each_frame(&bytes, &mut |bytes| frames.push(Frame { bytes, origin: Origin::Fragment }));
        if let Some(last) = frames.last_mut() {
            last.origin = Origin::Write;
        }
        Compressed(frames)
    }

    /// Compresses an event for a client of push.v1: see [`Client::write_event`], and [`Client::write_binary_event`] for bytes.
    pub fn compress_event(&self, fields: sse::Fields<'_>, binary: bool, data: &[u8]) -> Compressed {
        let event = if binary { sse::binary_event(fields, data) } else { self.event(fields, data) };
        self.compress_message(true, &event)
    }

    /// Queues it. False if the client is closed, closing, or too slow.
    pub fn write_compressed(&self, compressed: Compressed) -> bool {
        self.enqueue(compressed.0)
    }
}

/// Counts what was compressed.
pub(super) fn count(stats: &Stats, deflations: &Deflations) {
    stats.deflations.add_many(deflations.messages);
    stats.deflation_bytes_in.add_many(deflations.before);
    stats.deflation_bytes_out.add_many(deflations.after);
}
