use std::time::Duration;

use super::*;
use crate::channel::Draft;
use crate::channel::Limits;

struct Fixture {
    channel: Channel,
    seq: u64,
    now: Instant,
}

impl Fixture {
    fn new(history: usize) -> Self {
        let policy = Policy { history, ttl: Some(Duration::from_secs(10)), ..Policy::default() };
        Fixture { channel: Channel::new("c".into(), policy, 0), seq: 0, now: Instant::now() }
    }

    fn append(&mut self, store: bool) {
        self.seq += 1;
        let draft = Draft { store, ..Draft::text("c", b"12345") };
        let message = Message::new(&draft, &Limits::default(), self.now).unwrap();
        message.number(self.seq);
        self.channel.append(message);
        self.weigh();
    }

    fn weigh(&self) {
        let mut weight = Weight::default();
        for entry in &self.channel.entries {
            let cost = entry.message.cost();
            if self.channel.is_surplus(entry) {
                weight.pinned += cost;
            } else {
                weight.kept += cost;
                weight.history += 1;
            }
        }
        assert_eq!(self.channel.weight(), weight);
    }

    fn free_surplus(&mut self) {
        self.channel.free_surplus();
        self.weigh();
    }

    fn seqs(&self) -> Vec<u64> {
        self.channel.entries.iter().map(|entry| entry.message.seq()).collect()
    }
}

#[test]
fn without_readers_there_is_only_history() {
    let mut fixture = Fixture::new(3);
    (0..5).for_each(|_| fixture.append(true));
    fixture.append(false);
    assert_eq!((fixture.seqs(), fixture.channel.floor()), (vec![3, 4, 5], 2));
    let mut none = Fixture::new(0);
    none.append(true);
    none.append(false);
    assert_eq!((none.seqs(), none.channel.floor(), none.channel.end()), (vec![], 1, 2));
}

#[test]
fn readers_pin_but_do_not_lower_the_floor() {
    let mut fixture = Fixture::new(2);
    fixture.channel.places.push(Place { next: 1, reader: 0 });
    (0..40).for_each(|_| fixture.append(true));
    assert_eq!(fixture.seqs(), (2..=40).collect::<Vec<_>>());
    assert_eq!(fixture.channel.floor(), 38);
    assert_eq!(fixture.channel.lag(1), (39, 195));
    assert_eq!(fixture.channel.history(0).map(|message| message.seq()).collect::<Vec<_>>(), [39, 40]);
    fixture.channel.places[0].next = 40;
    fixture.free_surplus();
    assert_eq!(fixture.seqs(), [39, 40]);
    assert_eq!(fixture.channel.lag(40), (0, 0));
}

#[test]
fn what_is_not_stored_goes_from_between() {
    let mut fixture = Fixture::new(2);
    fixture.channel.places.push(Place { next: 0, reader: 0 });
    for store in [true, false, false, true, false] {
        fixture.append(store);
    }
    fixture.channel.places[0].next = 2;
    fixture.free_surplus();
    assert_eq!(fixture.seqs(), [1, 3, 4, 5]);
    assert_eq!(fixture.channel.unread(2).next(), 2);
    assert_eq!(fixture.channel.after(1), 2);
    fixture.channel.places[0].next = 5;
    fixture.free_surplus();
    assert_eq!(fixture.seqs(), [1, 4]);
    // Number 2 is in a hole: what comes next is number 3.
    assert_eq!(fixture.channel.unread(2).next(), 3);
    fixture.append(true);
    assert_eq!(fixture.channel.floor(), 1);
}

#[test]
fn a_tide_of_what_is_not_stored_is_bounded() {
    let mut fixture = Fixture::new(2);
    fixture.channel.places.push(Place { next: 0, reader: 0 });
    fixture.append(true);
    for _ in 0..1000 {
        fixture.append(false);
        fixture.channel.places[0].next = fixture.channel.end();
    }
    assert!(fixture.seqs().len() <= SURPLUS + 1);
    assert_eq!((fixture.seqs()[0], fixture.channel.floor()), (1, 0));
}

#[test]
fn time_and_a_full_memory_raise_the_floor() {
    let mut fixture = Fixture::new(5);
    fixture.append(true);
    fixture.now += Duration::from_secs(9);
    (0..3).for_each(|_| fixture.append(true));
    fixture.now += Duration::from_secs(1);
    fixture.channel.expire(fixture.now);
    fixture.weigh();
    assert_eq!((fixture.seqs(), fixture.channel.floor()), (vec![2, 3, 4], 1));
    fixture.channel.places.push(Place { next: 1, reader: 0 });
    fixture.channel.shorten();
    fixture.weigh();
    assert_eq!((fixture.seqs(), fixture.channel.floor()), (vec![2, 3, 4], 2));
    fixture.channel.places[0].next = 2;
    fixture.channel.shorten();
    fixture.weigh();
    assert_eq!((fixture.seqs(), fixture.channel.floor()), (vec![3, 4], 3));
    fixture.channel.set_policy(Policy { history: 1, ..Policy::default() });
    fixture.weigh();
    assert_eq!((fixture.seqs(), fixture.channel.floor()), (vec![3, 4], 3));
}

#[test]
fn who_lags_most_is_given_up_first() {
    let mut fixture = Fixture::new(1);
    for next in [0, 3, 6] {
        fixture.channel.places.push(Place { next, reader: next as u32 });
    }
    (0..8).for_each(|_| fixture.append(true));
    let each = fixture.channel.weight().pinned / 7;
    assert_eq!([1, each, each + 1, 100 * each].map(|bytes| fixture.channel.cut(bytes)), [1, 1, 2, 8]);
    for (slow, skipped) in [(Slow::Resume, None), (Slow::Drop, Some(5)), (Slow::Latest, Some(1))] {
        fixture.channel.policy.slow = slow;
        let place = fixture.channel.places.iter().position(|place| place.next < 7).unwrap();
        assert_eq!(fixture.channel.give_up(place as u32, 1), skipped, "{slow:?}");
    }
    assert_eq!(fixture.channel.places.iter().map(|place| place.next).collect::<Vec<_>>(), [GIVEN_UP, 8, 7]);
    fixture.free_surplus();
    assert_eq!(fixture.seqs(), [8]);
    // The newest itself is in the way.
    assert_eq!(fixture.channel.give_up(2, 8), Some(1));
    assert_eq!(fixture.channel.lag(GIVEN_UP), (0, 0));
    assert_eq!(fixture.channel.unread(GIVEN_UP).peek().map(|(number, _)| number), None);
}
