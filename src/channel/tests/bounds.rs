//! Tests that one hold of a lock looks at few channels, patterns and members, however many there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::channel::work::{PIECE, most};
use crate::channel::{
    Channels, Cursor, Draft, Limits, Member, Policy, Reader, Shape, Since, Slow, Subscription, Target, Wake,
};
use crate::engine::Local;

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(&self) {}

    fn give_up(&self) {
        self.0.store(true, Ordering::Release);
    }
}

fn channels(limits: Limits) -> Arc<Channels> {
    Channels::new(limits, Arc::new(Local::new(Arc::new(Flag::default()))), None)
}

fn reader(channels: &Arc<Channels>, targets: &[Target<'_>]) -> Reader {
    let reader = Reader::attach(channels, 1, Arc::new(Flag::default()), Since::Now);
    for target in targets {
        reader.subscribe(Subscription { target: *target, ..Subscription::to("") }, Instant::now()).unwrap();
    }
    reader.open();
    reader
}

fn read(channels: &Channels, reader: &Reader) -> Vec<String> {
    channels.deliver();
    let mut all = Vec::new();
    while reader.read_messages(|message| all.push(String::from_utf8_lossy(message.payload()).into_owned())).more {}
    all
}

fn publish(channels: &Channels, name: &str) {
    channels.publish(&Draft::text(name, name.as_bytes()), Instant::now()).unwrap();
    channels.take_over();
}

/// Runs `work`, and fails if one hold of the lock has looked at more than `bound`.
fn within<R>(bound: usize, what: &str, work: impl FnOnce() -> R) -> R {
    let (result, looks) = most(work);
    assert!(looks <= bound, "{what}: {looks} looks");
    result
}

#[test]
fn many_patterns_and_channels() {
    let channels = channels(Limits::default());
    let rooms: Vec<_> = (0..100_000).map(|number| format!("room:{number}")).collect();
    let open: Vec<_> = rooms.iter().map(|name| reader(&channels, &[Target::Channel(name)])).collect();
    let texts: Vec<_> = (0..20_000)
        .map(|number| match number % 4 {
            0 => format!("room:{number}*"),
            1 => format!("*:{number}"),
            2 => format!("*:{number}:*"),
            _ => format!("user:{number}:[ab]*"),
        })
        .collect();
    let mut patterns: Vec<_> = texts
        .iter()
        .map(|text| within(100, "subscribing a pattern", || reader(&channels, &[Target::Pattern(text)])))
        .collect();

    within(100, "a publish after patterns have changed", || publish(&channels, "room:4000"));
    // The channel's own messages, and those of room:4*, room:40*, room:400* and room:4000*.
    within(5, "a publish to an open channel", || publish(&channels, "room:4000"));
    within(100, "a publish to a name never seen", || publish(&channels, "room:4000:7"));
    within(100, "a publish to a name never seen", || publish(&channels, "nobody"));
    within(100, "a publish that opens nothing", || publish(&channels, "user:7:b"));
    assert_eq!(read(&channels, &patterns[4000]), ["room:4000", "room:4000", "room:4000:7"]);
    assert_eq!(read(&channels, &patterns[7]), ["user:7:b"]);
    assert_eq!(read(&channels, &patterns[8]), [] as [&str; 0]);

    // Also in channels that were not used since, and no longer once they are unsubscribed.
    for number in [1, 99_997] {
        let late = within(100, "one pattern more", || reader(&channels, &[Target::Pattern("*oom:*")]));
        publish(&channels, &rooms[number]);
        assert_eq!(read(&channels, &late), [rooms[number].as_str()]);
        within(100, "a pattern that goes", || drop(late));
        within(100, "a publish after patterns have changed", || publish(&channels, &rooms[number]));
    }
    within(100, "60 patterns that go at once", || patterns.drain(..60).for_each(drop));
    within(PIECE, "the sweep", || channels.sweep(Instant::now()));

    let names = within(PIECE, "all names", || channels.names());
    assert_eq!(names.len(), rooms.len());
    within(PIECE, "a rule for all", || {
        channels.define("room:*", Policy { history: 1, ..Policy::default() }, Instant::now());
    });
    for name in [&rooms[0], &rooms[99_999]] {
        within(100, "a publish after the rules have changed", || publish(&channels, name));
        assert_eq!(channels.history(name, Since::Now, 10, Instant::now()).messages.len(), 1);
    }
    within(PIECE, "a rule for all", || channels.define("room:*", Policy::default(), Instant::now()));
    for name in [&rooms[0], &rooms[99_999]] {
        assert!(channels.history(name, Since::Now, 10, Instant::now()).messages.is_empty());
    }
    drop(open);
    drop(patterns);
    publish(&channels, "last");
    (0..30).for_each(|_| channels.sweep(Instant::now()));
    assert!(channels.names().is_empty());
    assert!(channels.lock().log.footprint() < 10_000, "{}", channels.lock().log.footprint());
}

#[test]
fn many_rules() {
    let channels = channels(Limits::default());
    for number in 0..20_000 {
        channels.define(&format!("room:{number}"), Policy { history: 1, ..Policy::default() }, Instant::now());
    }
    within(100, "a channel with a rule of its own", || publish(&channels, "room:7000"));
    within(100, "a channel with none", || publish(&channels, "nobody"));
    assert_eq!(channels.names().len(), 1);
}

#[test]
fn a_full_memory() {
    let channels = channels(Limits { log_bytes: 4 << 20, ..Limits::default() });
    channels.define("*", Policy { history: 4, ..Policy::default() }, Instant::now());
    // Many small histories, of which each has something to give.
    for number in 0..60_000 {
        let name = format!("room:{}", number % 20_000);
        within(PIECE, "a publish", || publish(&channels, &name));
        assert!(channels.bytes() <= 4 << 20);
    }
    // A message for each room is too much, so those of the quietest rooms are gone.
    let kept = channels.names().len();
    assert!((5_000..20_000).contains(&kept), "{kept} are left");
    let newest = channels.history("room:19999", Since::Now, 10, Instant::now());
    assert_eq!(newest.messages.len(), 1);
}

#[test]
fn many_slow_readers_of_one_channel() {
    let channels = channels(Limits { log_bytes: 4 << 20, ..Limits::default() });
    let flags: Vec<_> = (0..1000).map(|_| Arc::new(Flag::default())).collect();
    let readers: Vec<_> = flags
        .iter()
        .map(|flag| {
            let reader = Reader::attach(&channels, 1, Arc::clone(flag) as Arc<dyn Wake>, Since::Now);
            reader.subscribe(Subscription::to("busy"), Instant::now()).unwrap();
            reader.open();
            publish(&channels, "busy");
            reader
        })
        .collect();
    // The first has the most before it.
    for _ in 0..20_000 {
        within(PIECE, "a publish", || publish(&channels, "busy"));
        read(&channels, &readers[999]);
        assert!(channels.bytes() <= 4 << 20);
        let lost = flags.iter().take_while(|flag| flag.0.load(Ordering::Acquire)).count();
        assert!(flags[lost..].iter().all(|flag| !flag.0.load(Ordering::Acquire)), "not the slowest first");
    }
    let lost = flags.iter().filter(|flag| flag.0.load(Ordering::Acquire)).count();
    assert_eq!(lost, 999);
    assert!(
        readers[0].read(Shape::EventStream.into(), false, drop).overrun
            && !readers[999].read(Shape::EventStream.into(), false, drop).overrun
    );
}

/// A client's task may look before the client's first callback has returned. It is woken only once.
#[test]
fn a_reader_that_is_given_up_before_it_is_open() {
    let channels = channels(Limits { log_bytes: 1 << 20, ..Limits::default() });
    let flag = Arc::new(Flag::default());
    let reader = Reader::attach(&channels, 1, Arc::clone(&flag) as Arc<dyn Wake>, Since::Now);
    reader.subscribe(Subscription::to("busy"), Instant::now()).unwrap();
    assert!(!reader.read(Shape::EventStream.into(), false, drop).overrun);
    while !flag.0.load(Ordering::Acquire) {
        publish(&channels, "busy");
    }
    assert!(reader.read(Shape::EventStream.into(), false, drop).overrun);
}

/// Publishers in four threads flood a channel. A reader that never reads is given up. A reader that reads is told of
/// all that it loses. The histories of other channels stay.
#[test]
fn a_flood_from_four_threads() {
    let channels = channels(Limits { log_bytes: 2 << 20, ..Limits::default() });
    let now = Instant::now();
    channels.define("quiet:*", Policy { history: 5, ..Policy::default() }, now);
    channels.define("busy", Policy { slow: Slow::Drop, ..Policy::default() }, now);
    let quiet: Vec<_> = (0..20).map(|number| format!("quiet:{number}")).collect();
    let start: Vec<Cursor> = quiet.iter().map(|_| channels.cursor()).collect();
    quiet.iter().for_each(|name| (0..5).for_each(|_| publish(&channels, name)));
    let stuck = Arc::new(Flag::default());
    let pattern = Reader::attach(&channels, 1, Arc::clone(&stuck) as Arc<dyn Wake>, Since::Now);
    pattern.subscribe(Subscription { target: Target::Pattern("bus*"), ..Subscription::to("") }, now).unwrap();
    pattern.open();
    let healthy = reader(&channels, &[Target::Channel("busy")]);
    let running = AtomicUsize::new(4);
    let (mut got, mut told) = (0, 0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5000 {
                    channels.publish(&Draft::text("busy", &[b'x'; 500]), Instant::now()).unwrap();
                }
                running.fetch_sub(1, Ordering::Release);
            });
        }
        loop {
            let last = running.load(Ordering::Acquire) == 0;
            channels.deliver();
            let batch = healthy.read(Shape::Raw.into(), false, drop);
            got += batch.messages as u64;
            told += batch.notices.iter().map(|notice| notice.count()).sum::<u64>();
            if last && batch.messages == 0 {
                break;
            }
        }
    });
    assert_eq!(got + told, 20_000);
    assert!(stuck.0.load(Ordering::Acquire));
    for (name, since) in quiet.iter().zip(start) {
        let history = channels.history(name, Since::After(since), 10, Instant::now());
        assert_eq!((history.messages.len(), history.complete), (5, true), "{name}");
    }
}

#[test]
fn many_members() {
    let channels = channels(Limits::default());
    let now = Instant::now();
    channels.define("*", Policy { presence: true, ..Policy::default() }, now);
    let names: Vec<_> = (0..10_000).map(|number| format!("u{number}")).collect();
    for (id, name) in (1..).zip(&names) {
        let reader = Reader::attach(&channels, id, Arc::new(Flag::default()), Since::Now);
        let member = Some(Member { name, info: "null" });
        // In one channel, each member would be announced to all others.
        let room = format!("room:{}", id % 1000);
        reader.subscribe(Subscription { member, ..Subscription::to(&room) }, now).unwrap();
        drop(reader);
    }
    assert_eq!(within(PIECE, "the readers of a member", || channels.disconnect("u7").unwrap()), [] as [u64; 0]);
    let later = now + Duration::from_secs(60);
    (0..10).for_each(|_| within(PIECE, "members that leave", || channels.sweep(later)));
    assert!(channels.present("room:7").is_empty() && channels.is_idle());
}
