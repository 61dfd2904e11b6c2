//! The frame of the last write: when an app writes the same String to many clients, one after the other, it is encoded once.
//!
//! The bytes are compared, not the objects: a String may have been changed since, or be gone, and another one may be at its
//! address. Clients that get the same bytes share them in memory. `pending` and all bounds count them for each client.

use bytes::Bytes;

use super::Client;
use super::queue::Frame;
use crate::channel::Shape;
use crate::sse;
use crate::websocket::Opcode;
use crate::websocket::frame::{FRAGMENT_SIZE, MAX_HEADER, frame, header_length};

/// Longer frames are not kept.
const MAX_KEPT: usize = MAX_HEADER + FRAGMENT_SIZE;

/// Length of what follows the data of an event: the end of its line, and the empty line.
const END: usize = 2;

/// The frames that were written last: one of each form, so that a loop over clients of all kinds has its String encoded once for
/// each form.
#[derive(Debug)]
pub struct LastWrite {
    message: Form,
    event: Form,
    framed_event: Form,
}

/// The last write that became a frame of one form.
#[derive(Debug)]
struct Form {
    /// The address and the length of the last payload. To keep a frame costs an allocation, and most payloads are written once.
    /// So a frame is kept only if its payload has the address and the length of the one before.
    seen: (usize, usize),
    /// The frame that is kept.
    written: Option<Written>,
}

#[derive(Debug)]
struct Written {
    /// The opcode of a message.
    opcode: Opcode,
    /// The name of an event.
    name: Option<Box<str>>,
    /// What the app wrote. If the frame has that in one piece, this is a part of it.
    payload: Bytes,
    frame: Bytes,
}

impl Form {
    const fn new() -> Self {
        Form { seen: (0, 0), written: None }
    }

    /// The frame of a payload: the one that is kept, or a new one that `encode` makes. With it, `encode` returns where in it the
    /// payload begins, if it is there in one piece.
    fn get_or_encode(
        &mut self,
        opcode: Opcode,
        name: Option<&str>,
        payload: &[u8],
        encode: impl FnOnce() -> (Bytes, Option<usize>),
    ) -> Bytes {
        if let Some(last) = &self.written
            && last.payload == payload
            && last.opcode == opcode
            && last.name.as_deref() == name
        {
            return last.frame.clone();
        }
        let (frame, start) = encode();
        let place = (payload.as_ptr().addr(), payload.len());
        if std::mem::replace(&mut self.seen, place) == place && frame.len() <= MAX_KEPT {
            let payload = match start {
                Some(start) => frame.slice(start..start + payload.len()),
                None => Bytes::copy_from_slice(payload),
            };
            self.written = Some(Written { opcode, name: name.map(Box::from), payload, frame: frame.clone() });
        }
        frame
    }
}

impl Default for LastWrite {
    fn default() -> Self {
        LastWrite::new()
    }
}

impl LastWrite {
    /// Nothing was written yet.
    pub const fn new() -> Self {
        LastWrite { message: Form::new(), event: Form::new(), framed_event: Form::new() }
    }

    /// As [`Client::write_message`]; the frame is shared with the write before, if that had the same bytes.
    pub fn write_message(&mut self, client: &Client, text: bool, payload: &[u8]) -> bool {
        let opcode = if text { Opcode::Text } else { Opcode::Binary };
        if payload.len() > FRAGMENT_SIZE {
            return client.enqueue(Frame::message(opcode, payload));
        }
        let encode = || (frame(true, opcode, payload), Some(header_length(payload.len())));
        client.enqueue_one(self.message.get_or_encode(opcode, None, payload, encode))
    }

    /// As [`Client::write_event`]; the frame is shared in the same way.
    pub fn write_event(&mut self, client: &Client, fields: sse::Fields<'_>, data: &[u8]) -> bool {
        let fields = client.event_fields(fields);
        let framed = client.shape() == Shape::PushV1;
        // An event with an id or a delay is for one client. A long one may need several frames.
        if fields.id.is_some() || fields.retry.is_some() || is_long(fields.event, data) {
            return client.enqueue_event(sse::event(fields, data));
        }
        let encode = || {
            let event = sse::event(fields, data);
            let start = event.len().checked_sub(data.len() + END).filter(|start| event[*start..].starts_with(data));
            if framed {
                let header = header_length(event.len());
                (frame(true, Opcode::Text, &event), start.map(|start| header + start))
            } else {
                (event, start)
            }
        };
        let form = if framed { &mut self.framed_event } else { &mut self.event };
        client.enqueue_one(form.get_or_encode(Opcode::Text, fields.event, data, encode))
    }

    /// Frees what is kept. To be called when the app has no more to do for now: a long frame must not stay for ever.
    pub fn forget(&mut self) {
        *self = LastWrite::new();
    }
}

/// Whether an event may be longer than what one frame has.
fn is_long(name: Option<&str>, data: &[u8]) -> bool {
    let more = name.map_or(0, str::len) + "event: \n\n".len();
    // A byte of the data becomes seven if it is the end of a line. That need not be counted for most events.
    more + data.len() * 8 > FRAGMENT_SIZE && more + sse::data_length(data) > FRAGMENT_SIZE
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;

    use super::*;
    use crate::channel::Since;
    use crate::engine::Local;
    use crate::net::Peer;
    use crate::push::queue::{Origin, Queue, Sent};
    use crate::push::{Callbacks, Context, EventInterest, Negotiated, Protocol, PubSub};

    struct NoCallbacks;

    impl Callbacks for NoCallbacks {
        fn ready(&self, _client: Arc<Client>) {}
    }

    fn context() -> Arc<Context> {
        let base = Arc::new(crate::base::Context::new(crate::Limits::default()));
        Arc::new(Context::new(base, Arc::new(NoCallbacks), PubSub::new(Local::shared)))
    }

    fn client(context: &Arc<Context>, shape: Shape, polls: bool) -> Arc<Client> {
        let protocol = if shape == Shape::EventStream { Protocol::Sse } else { Protocol::WebSocket };
        let negotiated = Negotiated { protocol, encoding: shape.into(), deflate: None, since: Since::Now, polls };
        let interest = EventInterest { message: true, drained: true, gap: true };
        Client::new(Arc::clone(context), negotiated, Peer::Unix, interest)
    }

    /// Sends what waits for a client. Returns each frame by itself.
    fn sent(client: &Arc<Client>) -> Vec<Bytes> {
        let mut queue = Queue::default();
        client.collect(&mut queue, &mut None, Waker::noop());
        let frames: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        let writes = frames.iter().filter(|frame| frame.origin == Origin::Write).count();
        let frames: Vec<_> = frames.into_iter().map(|frame| frame.bytes).collect();
        client.sent(&Sent { writes, bytes: frames.iter().map(Bytes::len).sum() });
        assert_eq!(client.pending(), Some(0));
        frames
    }

    /// All writes of a loop, by the same memory and without any. Clients must get the same either way.
    fn both_ways(last: &mut LastWrite, clients: &[Arc<Client>], write: impl Fn(&mut LastWrite, &Client) -> bool) {
        for client in clients {
            assert!(write(&mut LastWrite::new(), client));
            let expected = sent(client);
            assert!(write(last, client));
            assert_eq!(sent(client), expected);
        }
    }

    #[test]
    fn clients_of_all_kinds_get_what_was_written_however_it_changes() {
        let context = context();
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.extend([Shape::Raw, Shape::EventStream, Shape::PushV1].map(|shape| client(&context, shape, false)));
        }
        clients.push(client(&context, Shape::EventStream, true));
        let mut last = LastWrite::new();
        let mut payload = b"first text of many".to_vec();
        let long = [vec![b'a'; 9000], vec![b'\n'; 9000], vec![b'b'; FRAGMENT_SIZE], vec![b'c'; FRAGMENT_SIZE + 1]];
        let lines = ["", "a", "a\n", "\n\n", "a\r\nb\rc", " ", "data: a\n\n"].map(|text| text.as_bytes().to_vec());
        let events = [
            sse::Fields::default(),
            sse::Fields { event: Some("x"), ..Default::default() },
            sse::Fields { event: Some("xy"), ..Default::default() },
            sse::Fields { id: Some("1"), ..Default::default() },
            sse::Fields { retry: Some(1), ..Default::default() },
        ];
        for round in 0..6 {
            // The same place each time, with another content now and then.
            let changed = payload.len() - 1;
            payload[changed] = b'a' + round % 3;
            let texts = std::iter::once(&payload).chain(&lines).chain(long.iter().filter(|_| round == 0));
            for text in texts.skip(usize::from(round) % 2) {
                for fields in events {
                    both_ways(&mut last, &clients, |last, client| {
                        if client.shape() == Shape::Raw {
                            last.write_message(client, fields.event.is_none(), text)
                        } else {
                            last.write_event(client, fields, text)
                        }
                    });
                }
            }
        }
    }

    #[test]
    fn the_same_bytes_are_encoded_once_and_shared() {
        let context = context();
        let clients: Vec<_> = (0..5).map(|_| client(&context, Shape::Raw, false)).collect();
        let mut last = LastWrite::new();
        clients.iter().for_each(|client| assert!(last.write_message(client, true, b"to all")));
        assert!(clients.iter().all(|client| client.pending() == Some(1)));
        let frames: Vec<_> = clients.iter().map(|client| sent(client).remove(0)).collect();
        // The frame of the second write is the first one that is kept.
        assert!(frames[1..].iter().all(|frame| frame.as_ptr() == frames[1].as_ptr()));
    }

    #[test]
    fn nothing_is_kept_of_long_messages_and_after_a_batch() {
        let context = context();
        let client = client(&context, Shape::EventStream, false);
        let mut last = LastWrite::new();
        let long = vec![b'a'; MAX_KEPT];
        (0..3).for_each(|_| assert!(last.write_event(&client, sse::Fields::default(), &long)));
        assert!(last.event.written.is_none());
        (0..3).for_each(|_| assert!(last.write_event(&client, sse::Fields::default(), b"short")));
        assert!(last.event.written.is_some());
        last.forget();
        assert!(last.event.written.is_none());
    }
}
