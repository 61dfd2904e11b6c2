//! A reader that compresses.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::channel::{Batch, Channels, Deflations, Encoding, Reader, Shape, Since, Subscription, Wake};
use crate::websocket::deflate::{Inflater, WindowBits};

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A reader that compresses, and what it has got.
pub(super) struct Client {
    pub(super) reader: Reader,
    woken: Arc<Count>,
    pub(super) encoding: Encoding,
    pub(super) blocked: bool,
}

impl Client {
    pub(super) fn new(channels: &Arc<Channels>, name: &str, shape: Shape, bits: u8) -> Self {
        let encoding = Encoding { shape, deflate: WindowBits::new(bits) };
        Client::subscribed(channels, Subscription::to(name), encoding)
    }

    pub(super) fn subscribed(channels: &Arc<Channels>, subscription: Subscription<'_>, encoding: Encoding) -> Self {
        let woken = Arc::new(Count::default());
        let reader = Reader::attach(channels, 0, Arc::clone(&woken) as Arc<dyn Wake>, Since::Now);
        reader.subscribe(subscription, Instant::now()).unwrap();
        reader.open();
        let client = Client { reader, woken, encoding, blocked: false };
        client.read();
        client.wakes();
        client
    }

    /// What one read gives: the words with which messages begin, and whether they were compressed.
    pub(super) fn read(&self) -> (Vec<(String, bool)>, Batch) {
        let mut frames = Vec::new();
        let batch = self.reader.read(self.encoding, self.blocked, |bytes| frames.push(bytes));
        assert_eq!(batch.bytes, frames.iter().map(Bytes::len).sum());
        let messages = messages(&frames).into_iter().filter_map(|(payload, compressed)| {
            let text = String::from_utf8(payload).unwrap();
            let data = if self.encoding.shape == Shape::Raw { Some(&text[..]) } else { data_of(&text) };
            data.map(|data| (data.split(' ').next().unwrap().to_owned(), compressed))
        });
        (messages.collect(), batch)
    }

    /// The same, if it needs not wait.
    pub(super) fn read_all(&self) -> (Vec<(String, bool)>, Deflations) {
        let (mut all, mut deflations) = (Vec::new(), Deflations::default());
        loop {
            let (messages, batch) = self.read();
            assert!(!batch.waits && !batch.overrun, "{messages:?}");
            all.extend(messages);
            deflations.join(deflations_of(&batch));
            if !batch.more {
                return (all, deflations);
            }
        }
    }

    pub(super) fn waits(&self) -> bool {
        let (messages, batch) = self.read();
        assert_eq!(messages, []);
        assert!(!batch.more);
        batch.waits
    }

    /// How often it was woken since this was last asked.
    pub(super) fn wakes(&self) -> usize {
        self.woken.0.swap(0, Ordering::SeqCst)
    }
}

pub(super) fn deflations_of(batch: &Batch) -> Deflations {
    batch.deflations.as_deref().copied().unwrap_or_default()
}

/// The data of a block that has any, and is not a notice.
fn data_of(block: &str) -> Option<&str> {
    let data = block.lines().find_map(|line| line.strip_prefix("data: "));
    data.filter(|_| !block.contains("event: push."))
}

/// The payloads of messages, and whether they came compressed.
fn messages(frames: &[Bytes]) -> Vec<(Vec<u8>, bool)> {
    let (mut all, mut payload, mut compressed) = (Vec::new(), Vec::new(), false);
    for frame in frames {
        let header = match frame[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        compressed |= frame[0] & 0x40 != 0;
        payload.extend_from_slice(&frame[header..]);
        if frame[0] & 0x80 != 0 {
            let whole = std::mem::take(&mut payload);
            all.push(if compressed { (inflated(&whole), true) } else { (whole, false) });
            compressed = false;
        }
    }
    all
}

fn inflated(payload: &[u8]) -> Vec<u8> {
    let (mut inflater, mut out) = (Inflater::new(false), BytesMut::new());
    inflater.inflate(payload, &mut out, usize::MAX).unwrap();
    inflater.finish(&mut out, usize::MAX).unwrap();
    out.to_vec()
}
