//! Compares the log with its definition: a list of all messages that were published, and for each reader the set of
//! those that it must get.

mod handed_out;
mod reads;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use self::steps::{CLIENTS, NAMES, PATTERNS, Step, TICKER, covers, is_pattern, policies, steps, target};
use super::Quiet;
use crate::channel::{
    Channels, Cursor, Draft, Epoch, Limits, Notice, Policy, Reader, Shape, Since, Subscription, Wake,
};
use crate::engine::Local;

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(&self) {
        assert!(!self.0.swap(true, Ordering::SeqCst), "woken twice");
    }

    fn give_up(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[derive(Clone, Copy)]
struct Published {
    channel: usize,
    stored: bool,
    except: Option<u64>,
    at: Instant,
}

/// A connection, and the messages that it must get: by seq, with the subscriptions that are the reason.
struct Connection {
    reader: Reader,
    woken: Arc<Flag>,
    /// Its outlet takes messages.
    parked: bool,
    since: Since,
    open: bool,
    subscribed: BTreeSet<usize>,
    owed: BTreeMap<u64, BTreeSet<usize>>,
    gap: Vec<usize>,
    recovered: Option<bool>,
    /// It was slow, so it may have skipped messages of the ticker's channel.
    skips: bool,
    /// How many messages it was told that it has missed, by channel.
    dropped: BTreeMap<usize, u64>,
    cursor: Option<Cursor>,
    /// Nothing was subscribed but from the client's own cursor, before it was opened.
    plain: bool,
}

impl Connection {
    /// Whether it may miss a message for ever: one of the ticker's if it was slow, or one that was announced.
    fn may_skip(&mut self, seq: u64, published: &[Published]) -> bool {
        let channel = published[seq as usize - 1].channel;
        if channel == TICKER {
            return self.skips;
        }
        let alone = self.owed.get(&seq).is_some_and(|targets| targets.iter().eq([&channel]));
        let told = self.dropped.get_mut(&channel).filter(|count| alone && **count > 0);
        told.map(|count| *count -= 1).is_some()
    }
}

/// What a client knows between its connections.
#[derive(Default)]
struct Client {
    cursor: Option<Cursor>,
    got: BTreeSet<u64>,
    /// Channels it had at the end, and what it was owed of them; `None` if it may not compare.
    left: Option<BTreeMap<usize, BTreeSet<u64>>>,
}

struct World {
    channels: Arc<Channels>,
    exact: bool,
    now: Instant,
    /// The first has the seq 1.
    published: Vec<Published>,
    policies: [Policy; NAMES.len()],
    /// Of each target, what was gone for ever when its rules changed, or of a pattern, all that came.
    floors: [u64; NAMES.len() + PATTERNS.len()],
    clients: [Client; CLIENTS],
    connections: [Option<Connection>; CLIENTS],
    next_id: u64,
}

impl World {
    fn new(log_bytes: Option<usize>) -> Self {
        let exact = log_bytes.is_none();
        let limits =
            Limits { log_bytes: log_bytes.unwrap_or(64 << 20), batch_messages: 4, slow_bytes: 20, ..Limits::default() };
        let channels = Channels::new(limits, Arc::new(Local::new(Arc::new(Quiet))), None);
        let now = Instant::now();
        for (name, policy) in NAMES.iter().zip(policies()) {
            channels.define(name, policy, now);
        }
        World {
            channels,
            exact,
            now,
            published: Vec::new(),
            policies: policies(),
            floors: Default::default(),
            clients: Default::default(),
            connections: Default::default(),
            next_id: 100,
        }
    }

    fn last(&self) -> u64 {
        self.published.len() as u64
    }

    fn messages(&self) -> impl DoubleEndedIterator<Item = (u64, &Published)> {
        (1..=self.last()).map(|seq| (seq, &self.published[seq as usize - 1]))
    }

    /// The definition of a floor.
    fn floor(&self, channel: usize) -> u64 {
        if is_pattern(channel) {
            return self.floors[channel];
        }
        let policy = &self.policies[channel];
        let stored = self.messages().filter(|(_, message)| message.channel == channel && message.stored);
        let newest_first = stored.rev().enumerate();
        let mut gone =
            newest_first.filter(|(age, (_, message))| *age >= policy.history || policy.expired(message.at, self.now));
        gone.next().map_or(0, |(_, (seq, _))| seq).max(self.floors[channel])
    }

    fn epoch(&self) -> Epoch {
        self.channels.cursor().epoch
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish { channel, store, except } => self.publish(channel, store, except),
            Step::Connect { client, since } => self.connect(client, since),
            Step::Subscribe { client, target, since } => self.subscribe(client, target, since),
            Step::Open { client } => self.open(client),
            Step::Unsubscribe { client, target } => self.unsubscribe(client, target),
            Step::Read { client, blocked } => self.read(client, blocked),
            Step::Stall { client } => self.stall(client),
            Step::Disconnect { client } => self.disconnect(client),
            Step::Wait { seconds } => {
                self.now += Duration::from_secs(seconds);
                self.channels.sweep(self.now);
            }
            Step::Define { channel, history } => {
                self.channels.take_over();
                self.floors[channel] = self.floor(channel);
                self.policies[channel].history = history;
                self.channels.define(NAMES[channel], self.policies[channel].clone(), self.now);
            }
            Step::Deliver => _ = self.channels.deliver(),
            Step::HandOut { most } => self.hand_out(most),
            Step::Park { client, parked } => {
                self.connections[client].iter_mut().for_each(|own| own.parked = parked);
            }
        }
    }

    /// How many messages each channel's history holds, and what waits for readers.
    fn held(&self) -> ([usize; NAMES.len()], usize) {
        self.channels.take_over();
        let log = &self.channels.lock().log;
        (NAMES.map(|name| log.channel(name).map_or(0, |channel| channel.weight().history)), log.memory.pinned())
    }

    /// Histories go only when little waits for readers, and the last message of one only when no other has more.
    fn check_eviction(&self, before: [usize; NAMES.len()], channel: usize) {
        let (after, pinned) = self.held();
        let lost = |at: &usize| after[*at] < before[*at];
        if !(0..NAMES.len()).any(|at| lost(&at)) {
            return;
        }
        let bytes = self.channels.limits().log_bytes;
        assert!(pinned <= bytes / 4, "{before:?} became {after:?}, and {pinned} wait for readers");
        if (0..NAMES.len()).any(|at| at != channel && lost(&at) && after[at] == 0) {
            assert!(after.iter().all(|count| *count <= 1), "{before:?} became {after:?}");
        }
    }

    fn publish(&mut self, channel: usize, stored: bool, except: Option<usize>) {
        let except = except.and_then(|client| Some(self.connections[client].as_ref()?.reader.id()));
        let payload = (self.last() + 1).to_string();
        let draft = Draft { store: stored, except, ..Draft::text(NAMES[channel], payload.as_bytes()) };
        let before = (!self.exact && self.last().is_multiple_of(2)).then(|| self.held().0);
        let cursor = self.channels.publish(&draft, self.now).unwrap().cursor().unwrap();
        before.inspect(|before| self.check_eviction(*before, channel));
        self.published.push(Published { channel, stored, except, at: self.now });
        assert_eq!(cursor.seq, self.last());
        for at in (0..PATTERNS.len()).map(|at| NAMES.len() + at).filter(|at| stored && covers(*at, channel)) {
            self.floors[at] = cursor.seq;
        }
        for connection in self.connections.iter_mut().flatten() {
            if except != Some(connection.reader.id()) {
                for target in connection.subscribed.iter().filter(|target| covers(**target, channel)) {
                    connection.owed.entry(cursor.seq).or_default().insert(*target);
                }
            }
        }
    }

    fn connect(&mut self, client: usize, since: Option<u8>) {
        if self.connections[client].is_some() {
            return;
        }
        let own = &mut self.clients[client];
        let since = match (since, own.cursor) {
            (None, None) => Since::Now,
            (None, Some(cursor)) => Since::After(cursor),
            (Some(0), _) => Since::Unreadable,
            (Some(seq), _) => {
                // A cursor of another client, or of none.
                own.left = None;
                own.got.clear();
                let epoch = if seq == 1 { Epoch::from(1) } else { self.channels.cursor().epoch };
                Since::After(Cursor { epoch, seq: u64::from(seq) })
            }
        };
        let woken = Arc::new(Flag::default());
        self.next_id += 1;
        self.connections[client] = Some(Connection {
            reader: Reader::attach(&self.channels, self.next_id, Arc::clone(&woken) as Arc<dyn Wake>, since),
            woken,
            parked: false,
            since,
            open: false,
            subscribed: BTreeSet::new(),
            owed: BTreeMap::new(),
            gap: Vec::new(),
            recovered: None,
            skips: !self.exact,
            dropped: BTreeMap::new(),
            cursor: None,
            plain: true,
        });
        self.connections[client].iter().for_each(|own| own.reader.set_outlet(client as u32));
    }

    fn subscribe(&mut self, client: usize, at: usize, since: Option<u8>) {
        let (floor, last, epoch) = (self.floor(at), self.last(), self.epoch());
        let viewed = self.connections.iter().flatten().any(|own| own.subscribed.contains(&at));
        let floor = if is_pattern(at) && !viewed { last } else { floor };
        let messages: Vec<_> = self.messages().map(|(seq, message)| (seq, *message)).collect();
        let Some(own) = &mut self.connections[client] else { return };
        let given = since.map(|seq| Since::After(Cursor { epoch, seq: u64::from(seq) }));
        let subscription = Subscription { since: given, ..Subscription::to("") };
        let subscription = Subscription { target: target(at), ..subscription };
        let result = own.reader.subscribe(subscription, self.now).unwrap();
        if !own.subscribed.insert(at) {
            assert_eq!(result, None);
            return;
        }
        own.plain &= !own.open && given.is_none();
        if is_pattern(at) && !viewed {
            self.floors[at] = last;
        }
        let since = given.unwrap_or(own.since);
        let after = match since {
            Since::After(cursor) if cursor.epoch == epoch && cursor.seq >= floor && cursor.seq <= last => {
                Some(cursor.seq)
            }
            _ => None,
        };
        let expected = (since != Since::Now).then_some(after.is_some());
        if self.exact {
            assert_eq!(result, expected, "channel {at} from {since:?}, floor {floor}, last {last}");
        } else {
            assert!(result <= expected, "channel {at} from {since:?}, floor {floor}, last {last}");
        }
        if result == Some(true) {
            let replay: BTreeSet<u64> = messages
                .iter()
                .filter(|(seq, message)| *seq > after.unwrap() && covers(at, message.channel) && message.stored)
                .filter(|(_, message)| message.except != Some(own.reader.id()))
                .map(|(seq, _)| *seq)
                .collect();
            let remembered = &self.clients[client];
            if let Some(left) = &remembered.left
                && own.plain
                && let Some(owed) = left.get(&at)
            {
                assert!(owed.is_subset(&replay), "a hole: owed {owed:?}, replayed {replay:?}");
                let again: Vec<_> = replay.intersection(&remembered.got).collect();
                assert!(again.is_empty(), "again: {again:?}");
            }
            for seq in replay {
                own.owed.entry(seq).or_default().insert(at);
            }
        }
        if !own.open {
            own.recovered = [own.recovered, result].into_iter().flatten().reduce(|all, this| all && this);
            own.gap.extend((result == Some(false)).then_some(at));
        } else if result == Some(false) {
            assert!(own.woken.0.load(Ordering::SeqCst));
        }
    }

    fn open(&mut self, client: usize) {
        if let Some(own) = &mut self.connections[client]
            && !own.open
        {
            own.open = true;
            assert_eq!(own.reader.open(), own.recovered);
            assert!(own.woken.0.load(Ordering::SeqCst));
        }
    }

    fn unsubscribe(&mut self, client: usize, at: usize) {
        let Some(own) = &mut self.connections[client] else { return };
        assert_eq!(own.reader.unsubscribe(target(at)), own.subscribed.remove(&at));
        own.owed.retain(|_, targets| {
            targets.remove(&at);
            !targets.is_empty()
        });
        own.gap.retain(|gap| *gap != at || own.open);
        own.plain = false;
    }

    fn disconnect(&mut self, client: usize) {
        let Some(own) = self.connections[client].take() else { return };
        let mut left = BTreeMap::new();
        for target in &own.subscribed {
            let stored = |seq: &u64| self.published[*seq as usize - 1].stored;
            let owed = own.owed.iter().filter(|(seq, targets)| stored(seq) && targets.contains(target));
            left.insert(*target, owed.map(|(seq, _)| *seq).collect());
        }
        let remembered = &mut self.clients[client];
        remembered.left = (own.plain && own.open).then_some(left);
        if !own.plain {
            remembered.got.clear();
        }
        drop(own.reader);
    }

    /// All clients get what they must get. Then only history is left.
    fn finish(&mut self) {
        for client in 0..CLIENTS {
            self.open(client);
            while let Some(own) = &self.connections[client]
                && (!own.owed.is_empty() || own.woken.0.load(Ordering::SeqCst))
            {
                self.read(client, false);
            }
            self.disconnect(client);
        }
        self.now += Duration::from_secs(3600);
        self.channels.sweep(self.now);
        let kept: Vec<_> = self.channels.names();
        let keeps = |at: usize| self.policies[at].history > 0 && self.policies[at].ttl.is_none();
        let lasting: Vec<_> = (0..NAMES.len()).filter(|at| keeps(*at)).map(|at| NAMES[at]).collect();
        assert!(kept.iter().all(|name| lasting.contains(&&**name)), "{kept:?}");
    }
}

fn run(log_bytes: Option<usize>, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut world = World::new(log_bytes);
    let buckets: BTreeSet<usize> = NAMES.iter().map(|name| world.channels.lock().log.forgotten.bucket(name)).collect();
    // Channels that share a forgotten floor may announce a gap too many.
    prop_assume!(buckets.len() == NAMES.len());
    steps.into_iter().for_each(|step| world.step(step));
    world.finish();
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 100_000, ..ProptestConfig::default() })]

    /// A gap is announced if and only if something is missing.
    #[test]
    fn exactly_as_defined(steps in steps()) {
        run(None, steps)?;
    }

    /// With any amount of memory: all that is missing is announced, and messages are freed in the order that
    /// `retention` describes.
    #[test]
    fn with_little_memory(steps in steps(), log_bytes in 1500usize..12_000) {
        run(Some(log_bytes), steps)?;
    }
}
