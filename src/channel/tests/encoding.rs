//! Tests that messages are encoded without the log's lock.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Quiet;
use crate::channel::encoding::encode_hook;
use crate::channel::{Channels, Draft, Encoding, Kind, Limits, Policy, Reader, Shape, Since, Subscription};
use crate::engine::Local;

/// How long a thread may take for work that does not wait.
const DEADLINE: Duration = Duration::from_secs(20);

fn channels() -> Arc<Channels> {
    let channels = Channels::new(Limits::default(), Arc::new(Local::new(Arc::new(Quiet))), None);
    channels.define("*", Policy::with_history(), Instant::now());
    channels
}

fn reader(channels: &Arc<Channels>, id: u64, subscription: Subscription<'_>) -> Reader {
    let reader = Reader::attach(channels, id, Arc::new(Quiet), Since::Now);
    reader.subscribe(subscription, Instant::now()).unwrap();
    reader.open();
    reader.read(Shape::EventStream.into(), false, drop);
    reader
}

fn read(reader: &Reader, encoding: Encoding) -> Vec<Bytes> {
    let mut all = Vec::new();
    let batch = reader.read(encoding, false, |bytes| all.push(bytes));
    assert_eq!(batch.bytes, all.iter().map(Bytes::len).sum());
    all
}

/// Encodes nothing more in this thread until the test says so.
fn stop_encoding() -> (impl FnOnce(), Receiver<()>, Sender<()>) {
    let (entered, has_entered) = channel();
    let (release, released) = channel::<()>();
    let stop = move || {
        encode_hook(move || {
            entered.send(()).unwrap();
            // An error means that the test has failed. Then this thread must end.
            let _ = released.recv();
        });
    };
    (stop, has_entered, release)
}

#[test]
fn a_message_that_is_being_encoded_holds_up_no_other_thread() {
    for shape in [Shape::EventStream, Shape::PushV1] {
        let channels = channels();
        let slow = reader(&channels, 1, Subscription::to("large"));
        let other = reader(&channels, 2, Subscription::to("small"));
        let large = vec![b'x'; 1 << 20];
        channels.publish(&Draft::text("large", &large), Instant::now()).unwrap();
        channels.deliver();
        let (stop, has_entered, release) = stop_encoding();
        let (done, is_done) = channel();
        std::thread::scope(|scope| {
            let encoding = scope.spawn(move || {
                stop();
                read(&slow, shape.into()).concat().len()
            });
            has_entered.recv_timeout(DEADLINE).expect("nothing is encoded");
            let (channels, other) = (&channels, &other);
            scope.spawn(move || {
                channels.publish(&Draft::text("small", b"hi"), Instant::now()).unwrap();
                channels.deliver();
                let got = read(other, shape.into());
                let history = channels.history("large", Since::Now, 1, Instant::now()).messages.len();
                channels.sweep(Instant::now());
                drop(reader(channels, 3, Subscription::to("large")));
                done.send((got.len(), history)).unwrap();
            });
            let all = is_done.recv_timeout(DEADLINE);
            drop(release);
            assert_eq!(all, Ok((1, 1)), "a publisher or another reader waits");
            assert!(encoding.join().unwrap() > large.len());
        });
    }
}

#[test]
fn what_others_have_encoded_comes_in_its_place() {
    let channels = channels();
    let draft = |text: &'static str| Draft::text("c", text.as_bytes());
    let publish = |draft: &Draft<'_>| {
        channels.publish(draft, Instant::now()).unwrap();
        channels.deliver();
    };
    let encodes = reader(&channels, 1, Subscription::to("c"));
    let own = reader(&channels, 2, Subscription::to("c"));
    let late = reader(&channels, 3, Subscription::to("c"));
    publish(&draft("0"));
    publish(&draft("1"));
    // Encoded by another reader, but behind nothing that is not.
    read(&encodes, Shape::EventStream.into());
    publish(&draft("2"));
    publish(&Draft { except: Some(2), ..draft("3") });
    publish(&draft("4"));
    let got = read(&own, Shape::EventStream.into());
    let text = String::from_utf8(got.concat()).unwrap();
    let data: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(data, ["0", "1", "2", "4"]);
    let ids: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("id: ")?.split_once('-')?.1.parse::<u64>().ok()).collect();
    assert_eq!(ids, (1..=5).collect::<Vec<_>>());
    // All that the two got are encoded by now, and share their memory. The message that is not for `own` is the fourth.
    let others = read(&late, Shape::EventStream.into());
    assert!([0, 1, 2, 4].iter().all(|at| others[*at].as_ptr() == got[*at].as_ptr()));
}

#[test]
fn a_batch_ends_by_bytes_also_when_nothing_is_encoded_yet() {
    let channels = channels();
    let limits = Limits { batch_bytes: 1000, ..channels.limits() };
    channels.configure(limits, None);
    for kind in [Kind::Text, Kind::Binary] {
        for shape in [Shape::EventStream, Shape::PushV1, Shape::Raw] {
            let own = reader(&channels, 1, Subscription::to("c"));
            for _ in 0..10 {
                let draft = Draft { kind, ..Draft::text("c", &[b'x'; 400]) };
                channels.publish(&draft, Instant::now()).unwrap();
            }
            channels.deliver();
            let mut batches = Vec::new();
            loop {
                let batch = own.read(shape.into(), false, drop);
                batches.push(batch.messages);
                if !batch.more {
                    break;
                }
            }
            assert_eq!(batches.iter().sum::<usize>(), 10);
            assert!(batches.iter().all(|count| (1..=3).contains(count)), "{batches:?}");
        }
    }
}
