//! Sessions that get broken frames, and a publish socket in a runtime.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::authors::Authors;
use super::session::{Session, Shared};
use super::socket::PublishSocket;
use crate::base::lifecycle::{Lifecycle, Phase};
use crate::base::lock::Lock;
use crate::base::timers::Timers;
use crate::channel::{
    Change, ChangeKind, Channels, Command, Draft, Limits, Member, Message, Policy, Reader, Since, Subscription, Wake,
    codec,
};
use crate::engine::Local;
use crate::engine::hub::protocol::{self, Frame, Refusal, Role, VERSION};
use crate::engine::hub::publisher::{Answer, GivenUp, Publisher, Ticket, Waited};

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

fn channels() -> Arc<Channels> {
    let channels = Channels::new(Limits::default(), Local::shared(Arc::new(Nobody)), None);
    channels.define("*", crate::channel::Policy { history: 100_000, ..Default::default() }, Instant::now());
    channels
}

fn shared(channels: &Arc<Channels>) -> Arc<Shared> {
    Arc::new(Shared { channels: Arc::clone(channels), authors: Lock::new(Authors::default()) })
}

fn history(channels: &Channels) -> Vec<String> {
    let past = channels.history("c", Since::Now, 100_000, Instant::now());
    past.messages.iter().map(|it| String::from_utf8(it.payload().to_vec()).unwrap()).collect()
}

fn message(text: &str) -> Arc<Message> {
    Message::new(&Draft::text("c", text.as_bytes()), &Limits::default(), Instant::now()).unwrap()
}

fn hello(author: u128) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (version, role) = (VERSION, Role::Outsider);
    Frame::Hello { version, role, author, settled: 0, commands: 0, position: None }.encode(&mut bytes);
    bytes
}

fn publish(count: u64, text: &str, bytes: &mut Vec<u8>) {
    protocol::publish(count, &message(text), (Instant::now(), SystemTime::now()), bytes).unwrap();
}

/// What a session answers; `None`: the connection ends.
fn answers(session: &mut Session, bytes: &[u8]) -> (Vec<String>, bool) {
    let mut out = Vec::new();
    let (_, result) = session.receive(bytes, (Instant::now(), SystemTime::now()), &mut out);
    let (mut rest, mut all) = (&out[..], Vec::new());
    while let Some((frame, length)) = protocol::decode(rest, usize::MAX).unwrap() {
        if !matches!(frame, Frame::Welcome(_)) {
            all.push(format!("{frame:?}"));
        }
        rest = &rest[length..];
    }
    (all, result.is_ok())
}

#[test]
fn a_count_has_one_number_also_over_another_connection() {
    let channels = channels();
    let shared = shared(&channels);
    let mut first = Session::new(Arc::clone(&shared));
    let mut bytes = hello(1);
    publish(1, "a", &mut bytes);
    publish(2, "b", &mut bytes);
    assert_eq!(answers(&mut first, &bytes), (vec![format!("{:?}", numbered(1, 1, 2))], true));
    let mut second = Session::new(Arc::clone(&shared));
    let mut bytes = hello(1);
    publish(2, "b", &mut bytes);
    publish(5, "c", &mut bytes);
    let expected = [numbered(1, 1, 2), numbered(2, 2, 1), numbered(5, 3, 1)];
    assert_eq!(answers(&mut second, &bytes), (expected.map(|it| format!("{it:?}")).to_vec(), true));
    // What is left in the first connection comes too late.
    let mut late = Vec::new();
    publish(6, "d", &mut late);
    assert_eq!(answers(&mut first, &late), (vec![], false));
    assert_eq!(history(&channels), ["a", "b", "c"]);
}

fn numbered(count: u64, seq: u64, run: u32) -> Frame<'static> {
    Frame::Numbered { count, seq, run }
}

#[test]
fn what_cannot_be_published_is_refused_and_the_connection_goes_on() {
    let channels = channels();
    let mut session = Session::new(shared(&channels));
    let mut bytes = hello(1);
    Frame::Publish { count: 1, message: b"" }.encode(&mut bytes);
    Frame::Publish { count: 2, message: b"not a message" }.encode(&mut bytes);
    let empty = Message::new(&Draft::text("x", b"x"), &Limits::default(), Instant::now()).unwrap();
    let mut encoded = Vec::new();
    crate::channel::codec::encode(&empty, (Instant::now(), SystemTime::now()), &mut encoded).unwrap();
    encoded.push(0); // One byte too many behind the message is a byte of no message.
    Frame::Publish { count: 3, message: &encoded }.encode(&mut bytes);
    publish(4, "a", &mut bytes);
    let refused = |count| format!("{:?}", Frame::Refused { count, reason: Refusal::Broken });
    let expected = vec![refused(1), refused(2), refused(3), format!("{:?}", numbered(4, 1, 1))];
    assert_eq!(answers(&mut session, &bytes), (expected, true));
}

fn command(count: u64, command: &Command) -> Vec<u8> {
    let (mut encoded, mut bytes) = (Vec::new(), Vec::new());
    codec::encode_command(command, &mut encoded).unwrap();
    Frame::Publish { count, message: &encoded }.encode(&mut bytes);
    bytes
}

#[test]
fn a_process_without_a_server_disconnects_members_and_changes_none() {
    let channels = channels();
    channels.define("c", Policy { presence: true, ..Policy::default() }, Instant::now());
    let reader = Reader::attach(&channels, 7, Arc::new(Nobody), Since::Now);
    let member = Some(Member { name: "m", info: "1" });
    reader.subscribe(Subscription { member, ..Subscription::to("c") }, Instant::now()).unwrap();
    let mut session = Session::new(shared(&channels));
    let own = |done| Command::Disconnect { member: "m".into(), done };
    let leave = Change { channel: "c".into(), member: "m".into(), kind: ChangeKind::Leave { client: 7 } };
    let bytes = [hello(1), command(1, &own(None)), command(1, &own(None)), command(2, &own(Some(0)))].concat();
    let bytes = [bytes, command(3, &Command::Member(leave))].concat();
    let refused = |count| format!("{:?}", Frame::Refused { count, reason: Refusal::Broken });
    let (all, open) = answers(&mut session, &bytes);
    assert!(open && all.len() == 4 && all[0].starts_with("Numbered { count: 1"), "{all:?}");
    assert_eq!(all[2..], [refused(2), refused(3)]);
    channels.deliver();
    assert_eq!((channels.take_dismissed(), channels.present("c").len()), (vec![7], 1));
}

#[test]
fn frames_that_do_not_belong_here_end_the_connection() {
    let mut first = Vec::new();
    publish(1, "a", &mut first);
    let mut worker = Vec::new();
    let (version, role) = (VERSION, Role::Worker);
    Frame::Hello { version, role, author: 1, settled: 0, commands: 0, position: None }.encode(&mut worker);
    let twice = [hello(1), hello(1)].concat();
    let mut end = hello(1);
    Frame::End.encode(&mut end);
    let mut long = hello(1);
    long.extend_from_slice(&[0xFF; 8]);
    for bytes in [first, worker, twice, end, long, b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
        let channels = channels();
        assert!(!answers(&mut Session::new(shared(&channels)), &bytes).1);
        assert_eq!(history(&channels), [""; 0]);
    }
}

#[test]
fn damaged_frames_are_refused_or_end_the_connection() {
    let channels = channels();
    let shared = shared(&channels);
    let mut random = fastrand::Rng::with_seed(1);
    for round in 0..20_000 {
        let mut session = Session::new(Arc::clone(&shared));
        let mut bytes = hello(u128::from(random.u64(0..100)));
        for count in 1..random.u64(2..6) {
            publish(count, "text", &mut bytes);
        }
        Frame::AskPosition { token: 1 }.encode(&mut bytes);
        for _ in 0..random.usize(0..4) {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        bytes.truncate(random.usize(..=bytes.len()));
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let some = random.usize(1..=rest.len());
            let (taken, result) = session.receive(&rest[..some], (Instant::now(), SystemTime::now()), &mut Vec::new());
            if result.is_err() || taken == 0 {
                break;
            }
            rest = &rest[taken..];
        }
        if round % 1000 == 0 {
            channels.take_over();
        }
    }
}

/// A publish socket in a runtime of its own thread.
struct Running {
    folder: tempfile::TempDir,
    lifecycle: Arc<Lifecycle>,
    thread: Option<std::thread::JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Running {
    fn start(folder: tempfile::TempDir, channels: &Arc<Channels>) -> Self {
        let path = folder.path().join("s");
        let _ = std::fs::remove_file(&path);
        let socket = UnixListener::bind(path).unwrap();
        let publish = PublishSocket::new(socket.into(), Arc::clone(channels)).unwrap();
        let lifecycle = Arc::new(Lifecycle::default());
        let (phase, stop) = (lifecycle.receiver(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let timers = Arc::<Timers>::default();
                tokio::spawn(Arc::clone(&timers).run().unwrap());
                let serving = tokio::spawn(publish.serve(phase, &timers).unwrap());
                while !stopped.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                serving.abort();
            });
        });
        Running { folder, lifecycle, thread: Some(thread), stop }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// Ends it as a server ends, and returns the folder for the next one.
    fn stop(mut self, gracefully: bool) -> tempfile::TempDir {
        if gracefully {
            self.lifecycle.advance(Phase::Draining);
        }
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.folder
    }
}

fn publisher(path: PathBuf) -> Arc<Publisher> {
    let publisher = Publisher::new().unwrap();
    publisher.set_places(vec![path]);
    Arc::new(publisher)
}

fn answer(publisher: &Publisher, ticket: &Arc<Ticket>) -> Answer {
    match publisher.wait(ticket, Instant::now() + Duration::from_secs(60)) {
        Waited::Answered(answer) => answer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn many_threads_publish_over_one_connection_while_servers_come_and_go() {
    let mut logs = Vec::new();
    let first = channels();
    let mut running = Running::start(tempfile::tempdir().unwrap(), &first);
    let publisher = publisher(running.path());
    let (tell, answered) = std::sync::mpsc::channel();
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let (publisher, tell) = (Arc::clone(&publisher), tell.clone());
            std::thread::spawn(move || {
                for number in 0..300 {
                    let ticket = publisher.publish(message(&format!("{thread}-{number}")));
                    assert!(matches!(answer(&publisher, &ticket), Answer::At(_)));
                    tell.send(()).unwrap();
                }
            })
        })
        .collect();
    drop(tell);
    let mut current = first;
    // The next server comes after each hundred answers, in the middle of others.
    while answered.iter().take(100).count() == 100 {
        let folder = running.stop(true);
        logs.push(history(&current));
        current = channels();
        running = Running::start(folder, &current);
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    running.stop(true);
    logs.push(history(&current));
    // A server that stops gracefully answers all that it has published. So no message is in two logs.
    let mut all: Vec<&String> = logs.iter().flatten().collect();
    all.sort();
    all.dedup();
    let count: usize = logs.iter().map(Vec::len).sum();
    assert_eq!((count, all.len()), (2400, 2400));
    for thread in 0..8 {
        let own = logs.iter().flatten().filter(|text| text.starts_with(&format!("{thread}-")));
        let numbers: Vec<u32> = own.map(|text| text.split_once('-').unwrap().1.parse().unwrap()).collect();
        assert!(numbers.is_sorted());
    }
}

#[test]
fn the_answer_is_the_place_in_the_log() {
    let channels = channels();
    let running = Running::start(tempfile::tempdir().unwrap(), &channels);
    let publisher = publisher(running.path());
    let ticket = publisher.publish(message("a"));
    assert_eq!(answer(&publisher, &ticket), Answer::At(channels.cursor()));
    publisher.close();
    assert!(!publisher.is_connected());
    let ticket = publisher.publish(message("b"));
    answer(&publisher, &ticket);
    let ticket = publisher.ask();
    assert_eq!(answer(&publisher, &ticket), Answer::At(channels.cursor()));
    assert_eq!(history(&channels), ["a", "b"]);
    running.stop(true);
}

#[test]
fn a_long_message_arrives_and_peers_that_end_or_do_not_read_harm_nobody() {
    use std::io::Write;
    let channels = channels();
    let running = Running::start(tempfile::tempdir().unwrap(), &channels);
    let mut peers: Vec<UnixStream> = (0..50).map(|_| UnixStream::connect(running.path()).unwrap()).collect();
    for (number, peer) in peers.iter_mut().enumerate() {
        peer.write_all(&hello(number as u128)[..number.min(20)]).unwrap();
    }
    // It never reads, and asks until its socket is full.
    let mut deaf = UnixStream::connect(running.path()).unwrap();
    deaf.set_nonblocking(true).unwrap();
    deaf.write_all(&hello(99)).unwrap();
    let mut question = Vec::new();
    Frame::AskPosition { token: 1 }.encode(&mut question);
    let deadline = Instant::now() + Duration::from_secs(60);
    while deaf.write_all(&question).is_ok() || deaf.write_all(&question).is_ok() {
        assert!(Instant::now() < deadline);
    }
    let publisher = publisher(running.path());
    let text = "x".repeat(5_000_000);
    let ticket = publisher.publish(message(&text));
    answer(&publisher, &ticket);
    drop(peers);
    let ticket = publisher.publish(message("end"));
    answer(&publisher, &ticket);
    assert_eq!(history(&channels), [text, "end".to_owned()]);
    running.stop(true);
}

#[test]
fn a_wait_ends_when_it_is_cancelled_and_at_its_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    // A server that never answers.
    let _listener = UnixListener::bind(&path).unwrap();
    let publisher = publisher(path);
    let tickets: Vec<_> = (0..4).map(|_| publisher.publish(message("a"))).collect();
    let soon = Instant::now() + Duration::from_millis(20);
    assert!(matches!(publisher.wait(&tickets[0], soon), Waited::NotYet));
    let threads: Vec<_> = tickets
        .iter()
        .map(|ticket| {
            let (publisher, ticket) = (Arc::clone(&publisher), Arc::clone(ticket));
            std::thread::spawn(move || publisher.wait(&ticket, Instant::now() + Duration::from_secs(60)))
        })
        .collect();
    for ticket in &tickets {
        publisher.cancel(ticket);
    }
    for thread in threads {
        assert!(matches!(thread.join().unwrap(), Waited::NotYet));
    }
    assert!(publisher.give_up(&tickets[0]).1.to_string().contains("does not answer"));
}

#[test]
fn what_comes_after_the_end_of_the_server_is_not_sent() {
    let channels = channels();
    let running = Running::start(tempfile::tempdir().unwrap(), &channels);
    let publisher = publisher(running.path());
    let ticket = publisher.publish(message("a"));
    answer(&publisher, &ticket);
    let _folder = running.stop(true);
    let ticket = publisher.publish(message("b"));
    assert!(matches!(publisher.wait(&ticket, Instant::now() + Duration::from_millis(100)), Waited::NotYet));
    assert_eq!(publisher.give_up(&ticket).0, GivenUp::Unsent);
}

#[test]
fn a_server_that_ends_each_connection_is_told_apart_from_one_that_is_silent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            drop(listener.accept());
        }
    });
    let publisher = publisher(path.clone());
    let ticket = publisher.publish(message("a"));
    assert!(matches!(publisher.wait(&ticket, Instant::now() + Duration::from_millis(200)), Waited::NotYet));
    stop.store(true, Ordering::Relaxed);
    UnixStream::connect(path).unwrap();
    thread.join().unwrap();
    let (given_up, why) = publisher.give_up(&ticket);
    assert_eq!(given_up, GivenUp::Unsent);
    assert!(why.to_string().contains("another version"), "{why}");
}

#[test]
fn without_a_server_nobody_waits() {
    let folder = tempfile::tempdir().unwrap();
    let publisher = publisher(folder.path().join("s"));
    let ticket = publisher.publish(message("a"));
    match publisher.wait(&ticket, Instant::now() + Duration::from_secs(60)) {
        Waited::Failed(why) => assert!(why.to_string().contains("there is no such file"), "{why}"),
        other => panic!("{other:?}"),
    }
}
