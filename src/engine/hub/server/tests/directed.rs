use std::time::{Duration, Instant, SystemTime};

use super::world::World;
use crate::engine::hub::server::{Hub, NumberStore, Settings, Start};

/// The first worker is cut off while messages that it has published are numbered, which it does not know.
fn cut_off(seed: u64) -> World {
    let mut world = World::new(seed);
    world.turns(20);
    world.stop(0, true);
    // More than its socket takes.
    world.publish_blindly(1, 40);
    world.turns(20);
    world.publish_blindly(0, 3);
    world.turns(40);
    assert!(world.living().peers.values().any(|peer| peer.place.as_ref().is_some_and(|place| !place.attached)));
    world
}

#[test]
fn messages_of_a_worker_that_is_cut_off_have_one_number_also_if_the_hub_dies() {
    for more in [0, 200] {
        let mut world = cut_off(1);
        world.publish_blindly(1, more);
        world.turns(100);
        world.restart_hub();
        world.turns(30);
        assert!(world.living().is_serving());
        world.stop(0, false);
        world.finish();
    }
}

#[test]
fn messages_of_a_worker_that_is_silent_for_two_hubs_have_one_number() {
    let mut world = cut_off(1);
    (0..2).for_each(|_| {
        world.restart_hub();
        world.turns(100);
    });
    world.stop(0, false);
    world.finish();
}

#[test]
fn a_worker_that_was_cut_off_learns_of_its_messages_that_the_log_has_no_more() {
    let mut world = cut_off(1);
    world.publish_blindly(1, 200);
    world.turns(100);
    world.stop(0, false);
    world.finish();
}

#[test]
fn a_hub_that_was_paused_does_not_take_its_workers_for_silent() {
    let mut world = World::new(1);
    world.turns(20);
    world.publish_blindly(1, 40);
    world.turns(20);
    let position = world.living().position();
    world.restart_hub();
    world.pass_time(Duration::from_secs(60));
    assert!(!world.living().is_serving());
    world.turns(20);
    assert_eq!(world.living().position(), position);
    world.finish();
}

#[test]
fn a_worker_has_time_to_answer_once_the_supervisor_has_connected_it() {
    let (mut now, numbers) = (Instant::now(), NumberStore::anonymous().unwrap());
    let settings = Settings::default();
    drop(Hub::new(settings, numbers.clone(), Start::First, now));
    let mut hub = Hub::new(settings, numbers, Start::Recover { processes: [1].into(), handover: false }, now);
    let mut look = |hub: &mut Hub, times: u32| {
        for _ in 0..times {
            now += settings.patience / 4;
            hub.tick(now, SystemTime::now());
        }
        hub.is_serving()
    };
    assert!(!look(&mut hub, 10));
    hub.connect_worker(1);
    assert!(!look(&mut hub, 4));
    assert!(look(&mut hub, 1));
}
