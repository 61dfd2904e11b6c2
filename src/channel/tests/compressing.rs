//! Tests that long messages are compressed by a thread of its own, while their readers wait and nobody else does.

mod client;

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use self::client::{Client, deflations_of};
use super::Quiet;
use crate::channel::{
    Channels, Deflations, Draft, Encoding, Kind, Limits, Policy, Reader, Shape, Since, Slow, Subscription, Target,
};
use crate::engine::Local;
use crate::websocket::deflate::{LONG, WindowBits};

/// A message of which this is the beginning is long.
const LENGTH: usize = 100_000;

fn channels_with(limits: Limits) -> Arc<Channels> {
    let limits = Limits { deflate_min: Some(512), ..limits };
    Channels::new(limits, Arc::new(Local::new(Arc::new(Quiet))), None)
}

fn channels() -> Arc<Channels> {
    channels_with(Limits::default())
}

fn text(word: &str, length: usize) -> String {
    format!("{word} {}", "x".repeat(length))
}

/// Publishes a text that begins with `word`. Returns how many readers were woken.
fn publish(channels: &Channels, name: &str, word: &str, length: usize) -> usize {
    channels.publish(&Draft::text(name, text(word, length).as_bytes()), Instant::now()).unwrap();
    channels.deliver()
}

/// Compresses what was begun, and returns when that is done.
fn finish(channels: &Channels, held: Sender<()>) {
    drop(held);
    channels.compressor.settle();
}

fn words(list: &[(&str, bool)]) -> Vec<(String, bool)> {
    list.iter().map(|(word, compressed)| ((*word).to_owned(), *compressed)).collect()
}

#[test]
fn a_reader_waits_for_a_long_message_and_reads_on_in_order() {
    for shape in [Shape::Raw, Shape::PushV1] {
        let channels = channels();
        let client = Client::new(&channels, "c", shape, 15);
        let held = channels.compressor.hold();
        for (word, length) in [("first", 10), ("long", LENGTH), ("third", 10)] {
            publish(&channels, "c", word, length);
        }
        assert_eq!(client.wakes(), 1);
        let (messages, batch) = client.read();
        assert_eq!(messages, words(&[("first", false)]), "{shape:?}");
        assert_eq!((batch.waits, batch.more, deflations_of(&batch).messages), (true, false, 0));
        // It is not woken for what it could not read.
        assert_eq!(publish(&channels, "c", "fourth", 10), 0);
        assert!(client.waits() && client.waits());
        assert_eq!((client.wakes(), client.reader.lag().messages), (0, 3));
        finish(&channels, held);
        assert_eq!(client.wakes(), 1);
        let (messages, deflations) = client.read_all();
        assert_eq!(messages, words(&[("long", true), ("third", false), ("fourth", false)]), "{shape:?}");
        assert_eq!((deflations.messages, deflations.after < 1000), (1, true));
        assert_eq!(publish(&channels, "c", "fifth", 10), 1);
        assert_eq!(client.read_all(), (words(&[("fifth", false)]), Deflations::default()));
    }
}

#[test]
fn other_readers_wait_for_nothing() {
    let channels = channels();
    let waiting = Client::new(&channels, "c", Shape::Raw, 15);
    let plain = Client::new(&channels, "c", Shape::Raw, 0);
    let elsewhere = Client::new(&channels, "other", Shape::Raw, 15);
    let held = channels.compressor.hold();
    publish(&channels, "c", "long", LENGTH);
    publish(&channels, "other", "short", 10);
    assert!(waiting.waits());
    assert_eq!(plain.read_all().0, words(&[("long", false)]));
    assert_eq!(elsewhere.read_all().0, words(&[("short", false)]));
    finish(&channels, held);
    assert_eq!(waiting.read_all().0, words(&[("long", true)]));
}

#[test]
fn each_form_is_made_once_for_all_that_wait() {
    let channels = channels();
    let forms = [(Shape::Raw, 15), (Shape::Raw, 9), (Shape::PushV1, 15), (Shape::PushV1, 12)];
    let new = |(shape, bits): (Shape, u8)| Client::new(&channels, "c", shape, bits);
    let clients: Vec<_> = forms.into_iter().cycle().take(12).map(new).collect();
    let held = channels.compressor.hold();
    publish(&channels, "c", "long", LENGTH);
    assert!(clients.iter().all(Client::waits));
    finish(&channels, held);
    // A reader is woken for another's form, too, and may wait again.
    assert!(clients.iter().all(|client| client.wakes() > 0));
    let mut all = Deflations::default();
    for client in &clients {
        let (messages, deflations) = client.read_all();
        assert_eq!(messages, words(&[("long", true)]));
        all.join(deflations);
    }
    assert_eq!(all.messages, forms.len() as u64);
    assert!(all.before >= (forms.len() * LENGTH) as u64);
    // One that comes later, and resumes, finds it made.
    channels.define("c", Policy::with_history(), Instant::now());
    publish(&channels, "c", "again", LENGTH);
    clients.iter().for_each(|client| {
        while client.read().1.waits {
            channels.compressor.settle()
        }
    });
    let start = channels.history("c", Since::Now, 10, Instant::now()).messages[0].seq() - 1;
    let since = Since::After(crate::channel::Cursor { epoch: channels.cursor().epoch, seq: start });
    let subscription = Subscription { since: Some(since), ..Subscription::to("c") };
    let late = Reader::attach(&channels, 0, Arc::new(Quiet), since);
    late.subscribe(subscription, Instant::now()).unwrap();
    late.open();
    let batch = late.read(clients[0].encoding, false, drop);
    assert_eq!((batch.messages, batch.waits, deflations_of(&batch).messages), (1, false, 0));
}

#[test]
fn a_message_is_compressed_at_once_up_to_a_length() {
    let channels = channels();
    let client = Client::new(&channels, "c", Shape::Raw, 15);
    let _held = channels.compressor.hold();
    publish(&channels, "c", "s", LONG - 2);
    let (messages, deflations) = client.read_all();
    assert_eq!((messages, deflations.messages), (words(&[("s", true)]), 1));
    publish(&channels, "c", "s", LONG - 1);
    assert!(client.waits());
}

#[test]
fn nothing_is_compressed_for_those_who_get_it_as_it_is() {
    let channels = channels();
    let client = Client::new(&channels, "c", Shape::Raw, 15);
    let events = Client::new(&channels, "c", Shape::EventStream, 15);
    let _held = channels.compressor.hold();
    let long = text("long", LENGTH);
    channels.publish(&Draft { compress: false, ..Draft::text("c", long.as_bytes()) }, Instant::now()).unwrap();
    channels.deliver();
    assert_eq!(client.read_all().0, words(&[("long", false)]));
    let batch = events.reader.read(events.encoding, false, drop);
    assert_eq!((batch.messages, batch.waits), (1, false));
    // A replay into an open connection has no ids, and is not compressed.
    channels.define("old", Policy::with_history(), Instant::now());
    let start = channels.cursor();
    publish(&channels, "old", "old", LENGTH);
    let push = Client::new(&channels, "c", Shape::PushV1, 15);
    let since = Since::After(start);
    push.reader.subscribe(Subscription { since: Some(since), ..Subscription::to("old") }, Instant::now()).unwrap();
    assert_eq!(push.read_all().0, words(&[("old", false)]));
}

#[test]
fn frames_of_another_kind_are_made_of_the_same_form() {
    let channels = channels();
    let encoding = Encoding { shape: Shape::Raw, deflate: Some(WindowBits::MOST) };
    let text = Client::subscribed(&channels, Subscription::to("c"), encoding);
    let subscription = Subscription { frames: Some(Kind::Binary), ..Subscription::to("c") };
    let binary = Client::subscribed(&channels, subscription, encoding);
    let held = channels.compressor.hold();
    publish(&channels, "c", "long", LENGTH);
    assert!(text.waits() && binary.waits());
    finish(&channels, held);
    let mut opcodes = Vec::new();
    let mut deflations = Deflations::default();
    for client in [&text, &binary] {
        let mut frames = Vec::new();
        deflations.join(deflations_of(&client.reader.read(encoding, false, |bytes| frames.push(bytes))));
        opcodes.push(frames[0][0]);
    }
    assert_eq!((opcodes, deflations.messages), (vec![0xC1, 0xC2], 1));
}

#[test]
fn a_reader_that_goes_or_leaves_the_channel_meanwhile() {
    let channels = channels();
    let [gone, left, stays] = [(); 3].map(|()| Client::new(&channels, "c", Shape::Raw, 15));
    left.reader.subscribe(Subscription::to("other"), Instant::now()).unwrap();
    let held = channels.compressor.hold();
    publish(&channels, "c", "long", LENGTH);
    for client in [&gone, &left, &stays] {
        assert!(client.waits());
        client.wakes();
    }
    drop(gone);
    assert!(left.reader.unsubscribe(Target::Channel("c")));
    publish(&channels, "other", "short", 10);
    // The number of the reader that has gone is used again.
    let new = Client::new(&channels, "c", Shape::Raw, 15);
    finish(&channels, held);
    assert_eq!((stays.wakes(), left.wakes(), new.wakes()), (1, 1, 0));
    assert_eq!(stays.read_all().0, words(&[("long", true)]));
    assert_eq!(left.read_all().0, words(&[("short", false)]));
    assert_eq!(new.read_all().0, []);
}

#[test]
fn the_log_gives_a_reader_up_meanwhile() {
    let channels = channels_with(Limits { log_bytes: 3_000_000, ..Limits::default() });
    let client = Client::new(&channels, "c", Shape::Raw, 15);
    let held = channels.compressor.hold();
    publish(&channels, "c", "long", LENGTH);
    assert!(client.waits());
    client.wakes();
    for _ in 0..20 {
        publish(&channels, "c", "more", LENGTH);
    }
    assert_eq!(client.wakes(), 1, "it is woken to be closed");
    assert!(client.read().1.overrun);
    finish(&channels, held);
    assert!(client.read().1.overrun);
    let next = Client::new(&channels, "c", Shape::Raw, 15);
    publish(&channels, "c", "next", LENGTH);
    assert!(next.waits());
    channels.compressor.settle();
    assert_eq!(next.read_all().0, words(&[("next", true)]));
}

#[test]
fn a_slow_reader_skips_the_message_meanwhile() {
    for slow in [Slow::Drop, Slow::Latest] {
        let channels = channels_with(Limits { slow_bytes: 1000, ..Limits::default() });
        channels.define("c", Policy { slow, ..Policy::default() }, Instant::now());
        let mut client = Client::new(&channels, "c", Shape::Raw, 15);
        let held = channels.compressor.hold();
        publish(&channels, "c", "long", LENGTH);
        assert!(client.waits());
        publish(&channels, "c", "second", LENGTH);
        publish(&channels, "c", "newest", LENGTH);
        if slow == Slow::Drop {
            client.reader.stalled();
        } else {
            client.blocked = true;
        }
        let _ = client.read();
        client.blocked = false;
        finish(&channels, held);
        while client.read().1.waits {
            channels.compressor.settle();
        }
        let last = client.reader.lag();
        assert_eq!(last.messages, 0, "{slow:?}");
        publish(&channels, "c", "next", 10);
        assert_eq!(client.read_all().0, words(&[("next", false)]));
    }
}

#[test]
fn beyond_a_bound_messages_are_sent_as_they_are() {
    const MIB: usize = 1 << 20;
    let channels = channels_with(Limits { log_bytes: 1 << 30, ..Limits::default() });
    let clients: Vec<_> = (0..18).map(|number| Client::new(&channels, &number.to_string(), Shape::Raw, 15)).collect();
    let held = channels.compressor.hold();
    for (number, client) in clients.iter().enumerate() {
        publish(&channels, &number.to_string(), "long", MIB - 5);
        assert!(client.waits());
    }
    // The readers of those that do not fit are woken at once.
    let woken: Vec<_> = clients.iter().map(|client| client.wakes() - 1).collect();
    assert_eq!(woken, [vec![0; 16], vec![1; 2]].concat());
    assert_eq!(clients[17].read_all().0, words(&[("long", false)]));
    finish(&channels, held);
    clients[..16].iter().for_each(|client| assert_eq!(client.read_all().0, words(&[("long", true)])));
    publish(&channels, "17", "next", MIB);
    assert!(clients[17].waits());
    channels.compressor.settle();
    assert_eq!(clients[17].read_all().0, words(&[("next", true)]));
}

#[test]
fn without_the_thread_messages_are_sent_as_they_are() {
    let channels = channels();
    let client = Client::new(&channels, "c", Shape::PushV1, 15);
    let held = channels.compressor.hold();
    publish(&channels, "c", "begun", LENGTH);
    assert!(client.waits());
    client.wakes();
    // Work that has not begun is dropped.
    channels.compressor.stop();
    drop(held);
    while client.wakes() == 0 {
        std::thread::yield_now();
    }
    assert_eq!(client.read_all(), (words(&[("begun", false)]), Deflations::default()));
    publish(&channels, "c", "refused", LENGTH);
    assert!(client.waits());
    assert_eq!(client.wakes(), 2);
    assert_eq!(client.read_all().0, words(&[("refused", false)]));
}

/// All readers get all messages in order, whatever becomes ready when.
#[test]
fn a_storm() {
    const EACH: usize = 100;
    let channels = channels_with(Limits { log_bytes: 1 << 30, ..Limits::default() });
    let forms = [(Shape::Raw, 15), (Shape::Raw, 10), (Shape::PushV1, 15), (Shape::PushV1, 9), (Shape::Raw, 0)];
    let clients: Vec<_> = forms.into_iter().map(|(shape, bits)| Client::new(&channels, "*", shape, bits)).collect();
    clients.iter().for_each(|client| _ = client.reader.subscribe(Subscription::to("c"), Instant::now()).unwrap());
    std::thread::scope(|scope| {
        for publisher in 0..2 {
            let channels = &channels;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(publisher);
                for number in 0..EACH {
                    let length = if random.bool() { random.usize(LONG..4 * LONG) } else { random.usize(..2000) };
                    publish(channels, "c", &format!("{publisher}-{number}"), length);
                }
            });
        }
        let readers = clients.iter().map(|client| {
            scope.spawn(|| {
                let mut all = Vec::new();
                while all.len() < 2 * EACH {
                    if client.wakes() == 0 {
                        std::thread::yield_now();
                        continue;
                    }
                    loop {
                        let (messages, batch) = client.read();
                        assert!(!batch.overrun);
                        all.extend(messages.into_iter().map(|(word, _)| word));
                        if !batch.more {
                            break;
                        }
                    }
                }
                all
            })
        });
        let all: Vec<_> = readers.collect::<Vec<_>>().into_iter().map(|reader| reader.join().unwrap()).collect();
        assert!(all.iter().all(|words| *words == all[0]));
        for publisher in 0..2 {
            let own: Vec<_> = all[0].iter().filter(|word| word.starts_with(&format!("{publisher}-"))).collect();
            assert!(own.iter().enumerate().all(|(at, word)| **word == format!("{publisher}-{at}")));
        }
    });
}
