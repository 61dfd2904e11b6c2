//! Publishers in many threads, and readers that come and go meanwhile. Also the figures of
//! docs/performance.md: `cargo test --release -p push_core channel::threads -- --ignored --nocapture`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::channel::{
    Batch, Channels, Cursor, Draft, Limits, Notice, Policy, Reader, Shape, Since, Subscription, Wake,
};
use crate::engine::Local;

const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(&self) {
        self.0.store(true, Ordering::Release);
    }
}

struct Client {
    reader: Reader,
    woken: Arc<Flag>,
    cursor: Option<Cursor>,
    /// By channel, what came without a gap between.
    runs: BTreeMap<usize, Vec<Vec<u64>>>,
}

impl Client {
    fn connect(channels: &Arc<Channels>, cursor: Option<Cursor>, runs: BTreeMap<usize, Vec<Vec<u64>>>) -> Self {
        let woken = Arc::new(Flag::default());
        let since = cursor.map_or(Since::Now, Since::After);
        let reader = Reader::attach(channels, 0, Arc::clone(&woken) as Arc<dyn Wake>, since);
        let mut own = Client { reader, woken, cursor, runs };
        for (index, name) in NAMES.iter().enumerate() {
            if own.reader.subscribe(Subscription::to(name), Instant::now()).unwrap() != Some(true) {
                own.runs.entry(index).or_default().push(Vec::new());
            }
        }
        own.reader.open();
        own
    }

    fn read(&mut self) -> Batch {
        let mut text = Vec::new();
        let batch = self.reader.read(Shape::EventStream.into(), false, |bytes| text.push(bytes));
        for block in text {
            let block = std::str::from_utf8(&block).unwrap();
            let id: Cursor = block.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().parse().unwrap();
            let event = block.contains("event: ");
            assert!(self.cursor.is_none_or(|old| old.seq < id.seq || event), "{:?} then {block}", self.cursor);
            self.cursor = Some(id);
            if !event {
                let name = block.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
                let index = NAMES.iter().position(|own| *own == name).unwrap();
                self.runs.get_mut(&index).unwrap().last_mut().unwrap().push(id.seq);
            }
        }
        batch
    }
}

#[test]
fn a_storm_from_eight_threads() {
    const EACH: usize = 4000;
    let signal = Arc::new(Flag::default());
    let channels = Channels::new(Limits::default(), Arc::new(Local::new(Arc::clone(&signal) as Arc<dyn Wake>)), None);
    // One that keeps all, one that keeps some, one that keeps nothing.
    for (name, history) in NAMES.iter().zip([usize::MAX, 1000, 0]) {
        channels.define(name, Policy { history, ..Policy::default() }, Instant::now());
    }
    let truth = Mutex::new(BTreeMap::new());
    let running = AtomicUsize::new(8);
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(&channels, None, BTreeMap::new())).collect();
    let mut random = fastrand::Rng::with_seed(7);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (channels, truth, running) = (&channels, &truth, &running);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(thread);
                let mut own = Vec::new();
                for _ in 0..EACH {
                    let index = random.usize(..3);
                    let draft = Draft::text(NAMES[index], NAMES[index].as_bytes());
                    own.push((channels.publish(&draft, Instant::now()).unwrap().cursor().unwrap().seq, index));
                    if random.u8(..) == 0 {
                        std::thread::yield_now();
                    }
                }
                truth.lock().unwrap().extend(own);
                running.fetch_sub(1, Ordering::Release);
            });
        }
        loop {
            let last = running.load(Ordering::Acquire) == 0;
            signal.0.store(false, Ordering::Release);
            channels.deliver();
            let mut idle = true;
            for own in &mut clients {
                if own.woken.0.swap(false, Ordering::AcqRel) {
                    idle = false;
                    let more = own.read().more;
                    own.woken.0.store(more, Ordering::Release);
                }
                // Also in the middle of a replay.
                if !last && random.u8(..) < 8 {
                    let (cursor, runs) = (own.cursor, std::mem::take(&mut own.runs));
                    *own = Client::connect(&channels, cursor, runs);
                }
            }
            channels.sweep(Instant::now());
            if last && idle && !signal.0.load(Ordering::Acquire) {
                break;
            }
        }
    });
    let truth = truth.into_inner().unwrap();
    assert_eq!(truth.len(), 8 * EACH);
    for own in &clients {
        for (index, runs) in &own.runs {
            for run in runs {
                let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
                let expected: Vec<u64> =
                    truth.range(first..=last).filter(|(_, at)| *at == index).map(|(seq, _)| *seq).collect();
                assert_eq!(*run, expected);
            }
            let newest = truth.iter().rev().find(|(_, at)| *at == index).map(|(seq, _)| *seq);
            assert_eq!(runs.last().unwrap().last().copied().or(newest), newest);
        }
        assert_eq!(own.runs[&0].len(), 1, "a gap where all is kept");
    }
}

#[test]
fn names_used_once_leave_nothing_behind() {
    let channels = Channels::new(Limits::default(), Arc::new(Local::new(Arc::new(Flag::default()))), None);
    let start = Instant::now();
    let ttl = Some(Duration::from_secs(1));
    channels.define("kept:*", Policy { history: 1, ttl, ..Policy::default() }, start);
    for number in 0..20_000 {
        let reader = Reader::attach(&channels, 1, Arc::new(Flag::default()), Since::Now);
        reader.subscribe(Subscription::to(&format!("read:{number}")), start).unwrap();
        channels.publish(&Draft::text(&format!("kept:{number}"), b"x"), start).unwrap();
        channels.publish(&Draft::text(&format!("lost:{number}"), b"x"), start).unwrap();
    }
    assert_eq!(channels.names().len(), 20_000);
    (0..10).for_each(|_| channels.sweep(start + Duration::from_secs(1)));
    assert_eq!((channels.names().len(), channels.bytes()), (0, 0));
    assert!(channels.lock().log.footprint() < 10_000, "{}", channels.lock().log.footprint());
}

#[test]
fn limits_are_errors() {
    let limits = Limits { max_channels: 2, max_subscriptions: 1, ..Limits::default() };
    let channels = Channels::new(limits, Arc::new(Local::new(Arc::new(Flag::default()))), None);
    let now = Instant::now();
    channels.define("kept:*", Policy { history: 1, ..Policy::default() }, now);
    let reader = Reader::attach(&channels, 1, Arc::new(Flag::default()), Since::Now);
    reader.subscribe(Subscription::to("a"), now).unwrap();
    let error = reader.subscribe(Subscription::to("b"), now).unwrap_err();
    assert_eq!(error.to_string(), "a client subscribes to at most 1 channels");
    channels.publish(&Draft::text("kept:1", b""), now).unwrap();
    channels.publish(&Draft::text("kept:1", b""), now).unwrap();
    channels.publish(&Draft::text("lost", b""), now).unwrap();
    let error = channels.publish(&Draft::text("kept:2", b""), now).unwrap_err();
    assert_eq!(error.to_string(), "there are 2 channels already");
    let other = Reader::attach(&channels, 2, Arc::new(Flag::default()), Since::Now);
    assert!(other.subscribe(Subscription::to("c"), now).is_err());
    assert!(other.subscribe(Subscription::to(&"x".repeat(256)), now).is_err());
}

#[test]
fn members_are_announced() {
    let channels = Channels::new(Limits::default(), Arc::new(Local::new(Arc::new(Flag::default()))), None);
    let now = Instant::now();
    channels.define("c", Policy { presence: true, ..Policy::default() }, now);
    let connect = |id, name| {
        let reader = Reader::attach(&channels, id, Arc::new(Flag::default()), Since::Now);
        let member = Some(crate::channel::Member { name, info: "1" });
        reader.subscribe(Subscription { member, ..Subscription::to("c") }, now).unwrap();
        reader.open();
        reader
    };
    let read = |reader: &Reader| {
        channels.deliver();
        let mut payloads = Vec::new();
        let batch =
            reader.read_messages(|message| payloads.push(String::from_utf8_lossy(message.payload()).into_owned()));
        let here = batch.notices.iter().find_map(|notice| match notice {
            Notice::Here { members, .. } => {
                Some(members.iter().map(|(name, info)| format!("{name}={info}")).collect::<Vec<_>>().join(" "))
            }
            _ => None,
        });
        (payloads, here)
    };
    let ana = connect(1, "ana");
    assert_eq!(read(&ana), (vec![], Some("ana=1".into())));
    let bob = connect(2, "bob");
    let tab = connect(3, "bob");
    assert_eq!(read(&bob).1, Some("ana=1 bob=1".into()));
    assert_eq!(read(&ana).0, ["{\"channel\":\"c\",\"member\":\"bob\",\"info\":1}"]);
    assert_eq!(channels.disconnect("bob").unwrap().len(), 2);
    drop((bob, tab));
    channels.sweep(now + Duration::from_secs(14));
    assert_eq!(read(&ana).0.len(), 0);
    channels.sweep(Instant::now() + Duration::from_secs(15));
    assert_eq!(read(&ana).0, ["{\"channel\":\"c\",\"member\":\"bob\"}"]);
    assert_eq!(channels.present("c").len(), 1);
}

#[test]
#[ignore = "a measurement"]
fn measure() {
    let per = |start: Instant, count: usize| start.elapsed().as_nanos() as f64 / count as f64;
    let payload = [b'x'; 200];
    for (readers, subscriptions, burst) in
        [(0, 0, 1), (1000, 1, 1), (1000, 1, 10), (1000, 1, 100), (1000, 16, 1), (1000, 128, 1)]
    {
        let signal = Arc::new(Flag::default());
        let channels = Channels::new(Limits::default(), Arc::new(Local::new(signal)), None);
        channels.define("*", Policy::with_history(), Instant::now());
        let attach = |id| {
            let woken = Arc::new(Flag::default());
            let reader = Reader::attach(&channels, id, Arc::clone(&woken) as Arc<dyn Wake>, Since::Now);
            for number in 0..subscriptions {
                reader.subscribe(Subscription::to(&format!("channel:{number}")), Instant::now()).unwrap();
            }
            reader.open();
            (reader, woken)
        };
        let all: Vec<_> = (0..readers).map(attach).collect();
        let (mut publish, mut deliver, mut read, mut count) = (0.0, 0.0, 0.0, 0);
        let mut out = Vec::with_capacity(1000);
        let rounds = 20_000 / burst.max(readers as usize / 10).max(1);
        for round in 0..rounds + 1 {
            let start = Instant::now();
            for _ in 0..burst {
                channels.publish(&Draft::text("channel:0", &payload), Instant::now()).unwrap();
            }
            let published = per(start, burst);
            let start = Instant::now();
            channels.deliver();
            let delivered = per(start, burst);
            let start = Instant::now();
            let mut got = 0;
            for (reader, _) in &all {
                got += reader.read(Shape::EventStream.into(), false, |bytes| out.push(bytes)).messages;
                out.clear();
            }
            // The first brings push.open.
            if round > 0 {
                publish += published / rounds as f64;
                deliver += delivered / rounds as f64;
                read += per(start, got.max(1)) / rounds as f64;
                count += got;
            }
        }
        println!(
            "{readers} readers × {subscriptions} channels, {burst} at a time: publish {publish:.0} ns, \
             deliver {deliver:.0} ns a message, read {read:.1} ns a delivery ({count})"
        );
    }
    for threads in [1, 2, 4] {
        let channels = Channels::new(Limits::default(), Arc::new(Local::new(Arc::new(Flag::default()))), None);
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for _ in 0..500_000 {
                        channels.publish(&Draft::text("channel:0", &payload), Instant::now()).unwrap();
                    }
                });
            }
        });
        println!("{threads} publishers: {:.2} M messages/s", threads as f64 * 0.5 / start.elapsed().as_secs_f64());
    }
    let memory = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let channels = Channels::new(Limits::default(), Arc::new(Local::new(Arc::new(Flag::default()))), None);
    let (wake, before) = (Arc::new(Flag::default()), memory());
    let idle: Vec<_> = (0..100_000)
        .map(|id| {
            let reader = Reader::attach(&channels, id, Arc::clone(&wake) as Arc<dyn Wake>, Since::Now);
            reader.subscribe(Subscription::to("c"), Instant::now()).unwrap();
            reader.open();
            reader.read(Shape::EventStream.into(), false, drop);
            reader
        })
        .collect();
    println!("an idle reader: {} bytes", (memory() - before) / idle.len());
    let start = Instant::now();
    drop(idle);
    println!("100 000 readers leave: {:.0} ns each", per(start, 100_000));
    let ttl = Some(Duration::ZERO);
    channels.define("once:*", Policy { history: 1, ttl, ..Policy::default() }, Instant::now());
    let before = memory();
    let start = Instant::now();
    for number in 0..1_000_000 {
        channels.publish(&Draft::text(&format!("once:{number}"), b"x"), Instant::now()).unwrap();
    }
    println!("a million names: publish {:.0} ns", per(start, 1_000_000));
    let full = memory();
    (0..300).for_each(|_| channels.sweep(Instant::now()));
    let kept = memory();
    // SAFETY: has no preconditions.
    unsafe { libc::malloc_trim(0) };
    let trimmed = memory();
    let mib = |bytes: usize| bytes.saturating_sub(before) >> 20;
    println!("they held {} MiB; forgotten {} MiB, after malloc_trim {} MiB", mib(full), mib(kept), mib(trimmed));
    // One that never reads, among others that keep history.
    channels.define("*", Policy::with_history(), Instant::now());
    let stuck = Reader::attach(&channels, 1, wake, Since::Now);
    stuck.subscribe(Subscription::to("busy"), Instant::now()).unwrap();
    stuck.open();
    let start = Instant::now();
    for number in 0..1_000_000 {
        let name = if number % 2 == 0 { "busy" } else { ["a", "b", "c", "d"][number / 2 % 4] };
        channels.publish(&Draft::text(name, &payload), Instant::now()).unwrap();
    }
    println!("memory full: publish {:.0} ns, log {} MiB", per(start, 1_000_000), channels.bytes() >> 20);
    println!(
        "sizes: message {}, reader {}, channel {}",
        size_of::<crate::channel::Message>(),
        crate::channel::log::READER_SIZE,
        crate::channel::log::CHANNEL_SIZE
    );
}
