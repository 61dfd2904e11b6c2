use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::*;
use crate::base;
use crate::base::limits::Limits;
use crate::channel::Draft;
use crate::engine::Local;
use crate::net::Peer;
use crate::push::{Callbacks, Context, EventInterest, Negotiated, Protocol, PubSub};

struct Idle;

impl Callbacks for Idle {
    fn ready(&self, _client: Arc<Client>) {}
}

fn client() -> Arc<Client> {
    let base = Arc::new(base::Context::new(Limits::default()));
    let context = Arc::new(Context::new(base, Arc::new(Idle), PubSub::new(Local::shared)));
    let negotiated = Negotiated {
        protocol: Protocol::WebSocket,
        encoding: Shape::Raw.into(),
        deflate: None,
        since: Since::Now,
        polls: false,
    };
    let interest = EventInterest { message: false, drained: false, gap: false };
    Client::new(context, negotiated, Peer::Unix, interest)
}

/// Another thread reads as soon as the first announcement is made, while the subscription is about to be complete.
#[test]
fn messages_for_ruby_are_announced_from_the_first_on() {
    const ROUNDS: usize = 500;
    let (client, got, deadline) = (client(), AtomicUsize::new(0), Instant::now() + Duration::from_secs(30));
    let ends = || got.load(Ordering::Acquire) == ROUNDS || Instant::now() > deadline;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ends() {
                std::thread::yield_now();
                for (_, subscription) in client.context().notifier.take_announced() {
                    let published = client.take_published(subscription);
                    got.fetch_add(published.messages.len(), Ordering::Release);
                }
            }
        });
        for round in 0..ROUNDS {
            client.subscribe_call(Target::Channel("c"), None).unwrap();
            let channels = client.context().pubsub.channels();
            channels.publish(&Draft::text("c", b"message"), Instant::now()).unwrap();
            channels.deliver();
            while got.load(Ordering::Acquire) == round && !ends() {
                std::thread::yield_now();
            }
            client.unsubscribe(Target::Channel("c"));
        }
    });
    assert_eq!(got.load(Ordering::Acquire), ROUNDS);
}
