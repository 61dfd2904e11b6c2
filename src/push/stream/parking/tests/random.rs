//! Random steps: what happens to clients, in any order.

use proptest::prelude::*;

use super::world::{World, both};
use crate::base::limits::Limits;
use crate::channel::{Draft, Shape, Since, Subscription, Target};
use crate::push::{CloseStatus, Protocol};

#[derive(Debug, Clone)]
enum Step {
    Publish { channel: usize, size: usize, except: Option<usize>, store: bool },
    Write { at: usize, size: usize },
    Subscribe { at: usize, channel: usize, again: bool },
    Unsubscribe { at: usize, channel: usize },
    Ping { at: usize },
    Read { at: usize, most: usize },
    Close { at: usize },
    Gone { at: usize },
    Drive,
}

const CHANNELS: [&str; 3] = ["kept", "other", "third"];
const CLIENTS: usize = 4;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (at, channel) = (|| 0..CLIENTS, || 0..CHANNELS.len());
    let size = || prop_oneof![3 => 1usize..200, 1 => 1000usize..9000, 1 => 20_000usize..70_000];
    let step = prop_oneof![
        10 => (channel(), size(), prop::option::weighted(0.1, at()), any::<bool>())
            .prop_map(|(channel, size, except, store)| Step::Publish { channel, size, except, store }),
        3 => (at(), size()).prop_map(|(at, size)| Step::Write { at, size }),
        3 => (at(), channel(), any::<bool>()).prop_map(|(at, channel, again)| Step::Subscribe { at, channel, again }),
        1 => (at(), channel()).prop_map(|(at, channel)| Step::Unsubscribe { at, channel }),
        1 => at().prop_map(|at| Step::Ping { at }),
        3 => (at(), prop_oneof![1usize..3000, Just(usize::MAX)]).prop_map(|(at, most)| Step::Read { at, most }),
        1 => at().prop_map(|at| Step::Close { at }),
        1 => at().prop_map(|at| Step::Gone { at }),
        10 => Just(Step::Drive),
    ];
    prop::collection::vec(step, 0..80)
}

fn play(world: &mut World, steps: &[Step]) {
    for at in 0..CLIENTS {
        let (protocol, shape) = match at {
            0 => (Protocol::Sse, Shape::EventStream),
            1 => (Protocol::WebSocket, Shape::PushV1),
            _ => (Protocol::WebSocket, Shape::Raw),
        };
        world.open(protocol, shape.into(), false);
    }
    world.drive();
    world.begin();
    for at in 0..CLIENTS {
        world.subscribe(at, "kept");
    }
    world.settle();
    for step in steps {
        match step.clone() {
            Step::Publish { channel, size, except, store } => {
                let except = except.map(|at| world.connections[at].client.id());
                let payload = vec![b'm'; size];
                world.publish(&Draft { except, store, ..Draft::text(CHANNELS[channel], &payload) });
            }
            Step::Write { at, size } => _ = world.connections[at].client.write_message(true, &vec![b'w'; size]),
            Step::Subscribe { at, channel, again } => {
                let since = again.then_some(Since::Unreadable);
                let _ = world.connections[at]
                    .client
                    .subscribe(Subscription { since, ..Subscription::to(CHANNELS[channel]) });
            }
            Step::Unsubscribe { at, channel } => {
                world.connections[at].client.unsubscribe(Target::Channel(CHANNELS[channel]));
            }
            Step::Ping { at } if at > 0 => {
                world.connections[at].peer.iter_mut().for_each(|peer| peer.write(b"\x89\x80\0\0\0\0"));
            }
            Step::Read { at, most } => _ = world.read(at, most),
            Step::Close { at } => world.connections[at].client.close(CloseStatus::new(3000, "")),
            Step::Gone { at } => world.connections[at].peer = None,
            Step::Ping { .. } | Step::Drive => world.drive(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn clients_get_the_same_with_the_fan_out_and_without(steps in steps()) {
        both(Limits::default(), |world| {
            world.certain = false;
            play(world, &steps);
        });
    }
}
