//! Threads that publish over real sockets, while hubs die.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::channel::{Cancel, Channels, Command, Engine, EngineError, Error, Policy, Post, Receipt, Since, Wake};
use crate::engine::hub::client::{HubClient, WorkerSettings};

const DEADLINE: Duration = Duration::from_secs(30);
const THREADS: usize = 4;
const MESSAGES: usize = 1000;

struct Quiet;

impl Wake for Quiet {
    fn wake(&self) {}
}

fn worker(limits: Limits) -> (Arc<HubClient>, Arc<Channels>) {
    let settings = WorkerSettings { process: 3, generation: 1, workers: 4, give_up: || {} };
    let client = HubClient::new(settings, Arc::new(Quiet)).unwrap();
    let channels = Channels::new(limits, Arc::clone(&client) as _, None);
    client.set_channels(&channels);
    client.loaded();
    channels.define("c", Policy { history: 2 * THREADS * MESSAGES, ..Policy::default() }, Instant::now());
    (client, channels)
}

/// Serves a connection until it has read `most` bytes, or `ends` is true. Then the hub is dead.
fn serve(hub: &mut Hub, client: &HubClient, most: usize, ends: &AtomicBool) {
    let (mut own, other) = UnixStream::pair().unwrap();
    own.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    client.connect(other.into());
    let (mut input, mut read, mut buffer) = (Vec::new(), 0, vec![0; 4096]);
    while read < most {
        match own.read(&mut buffer) {
            Ok(0) => panic!("the worker has closed its connection"),
            Ok(bytes) => {
                read += bytes;
                input.extend_from_slice(&buffer[..bytes]);
                let answer = hub.receive_some(&mut input);
                if read >= most {
                    // It dies within the answer.
                    own.write_all(&answer[..answer.len() * 2 / 3]).unwrap();
                    return;
                }
                own.write_all(&answer).unwrap();
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if ends.load(Ordering::Acquire) {
                    return;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn each_message_gets_one_number_while_hubs_die() {
    let limits = Limits { publish_queue: 50, publish_timeout: DEADLINE, ..Limits::default() };
    let (client, channels) = worker(limits);
    let done = AtomicBool::new(false);
    /// The hub ends with the test, also if that fails.
    struct Ends<'a>(&'a AtomicBool);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    let (hub, receipts) = std::thread::scope(|scope| {
        let (hub_client, done, ends) = (Arc::clone(&client), &done, Ends(&done));
        let hub = scope.spawn(move || {
            // A hub that is gone leaves what the worker has: the next one asks it.
            let mut hub = Hub { credit: 4096, forgetful: true, gives_credit: true, ..Hub::default() };
            for life in 0u64.. {
                let most = if done.load(Ordering::Acquire) { usize::MAX } else { 3000 + 977 * (life as usize % 40) };
                serve(&mut hub, &hub_client, most, done);
                if done.load(Ordering::Acquire) {
                    return hub;
                }
            }
            hub
        });
        let publishers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let channels = &channels;
                scope.spawn(move || {
                    let publish = |number: usize| {
                        let text = format!("{thread}:{number}");
                        let draft = Draft::text("c", text.as_bytes());
                        (channels.publish(&draft, Instant::now()).unwrap(), text)
                    };
                    (0..MESSAGES).map(publish).collect::<Vec<_>>()
                })
            })
            .collect();
        let receipts: Vec<_> = publishers.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let last = channels.unsettled().unwrap_or(0);
        let progress = channels.progress().unwrap();
        assert!(progress.wait(last, Instant::now() + DEADLINE, &Cancel::default()), "no number");
        drop(ends);
        (hub.join().unwrap(), receipts)
    });
    let history = channels.history("c", Since::Now, usize::MAX, Instant::now()).messages;
    let got: HashMap<String, u64> = history.iter().map(|message| (super::text(message), message.seq())).collect();
    assert_eq!((history.len(), got.len()), (THREADS * MESSAGES, THREADS * MESSAGES), "none twice, none lost");
    assert_eq!(hub.log.len(), history.len());
    assert!(history.iter().map(|message| message.seq()).eq(1..=history.len() as u64));
    let mut last = HashMap::new();
    for (receipt, text) in &receipts {
        let seq = receipt.cursor().unwrap().seq;
        assert_eq!(seq, got[text], "the ticket has the number of its message");
        let thread = text.split_once(':').unwrap().0;
        assert!(last.insert(thread, seq).is_none_or(|before| before < seq), "out of order");
    }
    assert_eq!(channels.cursor().seq, history.len() as u64);
    client.end();
}

#[test]
fn clients_that_ask_at_the_same_time_share_a_question() {
    let (client, _channels) = worker(Limits::default());
    let ends: Vec<_> = (0..100).map(|_| client.ask_end().unwrap()).collect();
    let (mut hub, done) = (Hub { credit: 1 << 20, ..Hub::default() }, AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&mut hub, &client, usize::MAX, &done));
        let give_up_at = Instant::now() + DEADLINE;
        while !ends.iter().all(|end| end.get().is_some()) {
            assert!(Instant::now() < give_up_at);
            std::thread::yield_now();
        }
        done.store(true, Ordering::Release);
    });
    client.end();
}

#[test]
fn messages_wait_for_a_hub_up_to_a_bound() {
    let limits = Limits { publish_queue: 3, publish_timeout: Duration::ZERO, ..Limits::default() };
    let (client, channels) = worker(limits);
    assert_eq!(channels.limits().log_bytes, (limits.log_bytes / 4).max(8 << 20));
    let publish = |text: &str| channels.publish(&Draft::text("c", text.as_bytes()), Instant::now());
    let receipts: Vec<_> = ["1", "2", "3"].into_iter().map(|text| publish(text).unwrap()).collect();
    assert_eq!(publish("4").unwrap_err(), Error::Engine(EngineError::Away));
    assert!(receipts.iter().all(|receipt| receipt.outcome().is_none()));
    assert!(!client.await_log(Instant::now(), &Cancel::default()));
    let (mut hub, done) = (Hub { credit: 1 << 20, ..Hub::default() }, AtomicBool::new(false));
    hub.other("kept");
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&mut hub, &client, usize::MAX, &done));
        assert!(client.await_log(Instant::now() + DEADLINE, &Cancel::default()));
        assert!(channels.progress().unwrap().wait(3, Instant::now() + DEADLINE, &Cancel::default()));
        done.store(true, Ordering::Release);
    });
    assert_eq!(receipts.iter().map(|receipt| receipt.cursor().unwrap().seq).collect::<Vec<_>>(), [2, 3, 4]);
    let receipt = publish("5").unwrap();
    assert!(matches!(receipt, Receipt::Pending(_)) && receipt.outcome().is_none());
    client.end();
}

#[test]
fn one_message_may_wait_however_long_it_is() {
    let limits = Limits { publish_queue_bytes: 1000, publish_timeout: Duration::ZERO, ..Limits::default() };
    let (client, channels) = worker(limits);
    let long = Draft { payload: &[b'x'; 5000], ..Draft::text("c", b"") };
    assert!(matches!(channels.post(&long, Instant::now()), Ok(Post::Done(_))));
    assert!(matches!(channels.post(&Draft::text("c", b"x"), Instant::now()), Ok(Post::Full(_))));
    assert_eq!(client.state(), crate::channel::engine::EngineState::Away);
    client.end();
}

static GIVEN_UP: AtomicBool = AtomicBool::new(false);

#[test]
fn a_hub_that_makes_no_sense_is_given_up_and_the_next_one_may_do_better() {
    let settings =
        WorkerSettings { process: 3, generation: 1, workers: 1, give_up: || GIVEN_UP.store(true, Ordering::Release) };
    let client = HubClient::new(settings, Arc::new(Quiet)).unwrap();
    let channels = Channels::new(Limits::default(), Arc::clone(&client) as _, None);
    client.set_channels(&channels);
    let receipt = channels.publish(&Draft::text("c", b"x"), Instant::now()).unwrap();
    let (mut own, other) = UnixStream::pair().unwrap();
    own.set_read_timeout(Some(DEADLINE)).unwrap();
    client.connect(other.into());
    own.write_all(&[0xFF; 100]).unwrap();
    // All that it has said, and the end.
    own.read_to_end(&mut Vec::new()).unwrap();
    let give_up_at = Instant::now() + DEADLINE;
    while !GIVEN_UP.load(Ordering::Acquire) {
        assert!(Instant::now() < give_up_at);
        std::thread::yield_now();
    }
    assert!(receipt.outcome().is_none());
    let (mut hub, done) = (Hub { credit: 1 << 20, ..Hub::default() }, AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&mut hub, &client, usize::MAX, &done));
        let settled = channels.progress().unwrap().wait(1, Instant::now() + DEADLINE, &Cancel::default());
        done.store(true, Ordering::Release);
        assert!(settled && receipt.cursor().is_some());
    });
    client.end();
}

#[test]
fn a_log_that_comes_before_the_apps_rules_is_taken_over_with_them() {
    let settings = WorkerSettings { process: 3, generation: 1, workers: 1, give_up: || {} };
    let client = HubClient::new(settings, Arc::new(Quiet)).unwrap();
    let channels = Channels::new(Limits::default(), Arc::clone(&client) as _, None);
    client.set_channels(&channels);
    let (mut hub, done) = (Hub { credit: 1 << 20, ..Hub::default() }, AtomicBool::new(false));
    let history = |text: &str| {
        let kept = channels.history("c", Since::Now, usize::MAX, Instant::now()).messages;
        assert_eq!(kept.iter().map(|message| super::text(message)).collect::<Vec<_>>().join(","), text);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&mut hub, &client, usize::MAX, &done));
        assert!(client.await_log(Instant::now() + DEADLINE, &Cancel::default()));
        // The app publishes while it is loaded, and gets numbers.
        for text in ["1", "2"] {
            let place = channels.publish(&Draft::text("c", text.as_bytes()), Instant::now()).map(|_| ());
            assert_eq!(place, Ok(()));
        }
        assert!(channels.progress().unwrap().wait(2, Instant::now() + DEADLINE, &Cancel::default()));
        history("");
        channels.define("c", Policy { history: 9, ..Policy::default() }, Instant::now());
        client.loaded();
        history("1,2");
        done.store(true, Ordering::Release);
    });
    client.end();
}

#[test]
fn commands_wait_for_a_hub_up_to_a_bound() {
    let (client, _channels) = worker(Limits::default());
    let own = || Command::Disconnect { member: "a".into(), done: None };
    assert_eq!((0..10_000).take_while(|_| client.command(own()).is_ok()).count(), 4096);
    client.end();
}
