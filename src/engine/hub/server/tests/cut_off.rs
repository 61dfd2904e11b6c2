use super::world::World;

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
