//! A test that a forked child may call every method of a client, although its parent held every lock when it forked.

use super::*;
use crate::channel::{Subscription, Target};
use crate::engine::Local;
use crate::push::mailbox::{Event, Turn};
use crate::push::{Callbacks, Context, PubSub};
use crate::websocket::Message;

/// Seconds until a child that blocks is ended by a signal.
const CHILD_DEADLINE: u32 = 10;

struct LockedCallbacks(Lock<()>);

impl Callbacks for LockedCallbacks {
    fn ready(&self, _client: Arc<Client>) {
        drop(self.0.lock());
    }
}

/// Whether `work` returns in a child.
fn returns_in_child(work: impl FnOnce()) -> bool {
    // SAFETY: the child calls nothing but `work`, and ends without a word to anybody.
    unsafe {
        let child = libc::fork();
        assert!(child >= 0, "cannot fork");
        if child == 0 {
            libc::alarm(CHILD_DEADLINE);
            work();
            // By a signal, since valgrind has its own idea of a child's exit status.
            libc::kill(libc::getpid(), libc::SIGUSR1);
        }
        let mut status = -1;
        assert_eq!(libc::waitpid(child, &mut status, 0), child);
        libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGUSR1
    }
}

#[test]
fn a_forked_child_waits_for_none_of_its_parents_locks() {
    let queue = Arc::new(LockedCallbacks(Lock::default()));
    let callbacks = Arc::clone(&queue) as Arc<dyn Callbacks>;
    let pubsub = PubSub::new(Local::shared);
    let context =
        Arc::new(Context::new(Arc::new(crate::base::Context::new(crate::Limits::default())), callbacks, pubsub));
    let negotiated = Negotiated {
        protocol: Protocol::WebSocket,
        encoding: Shape::PushV1.into(),
        deflate: None,
        since: Since::Now,
        polls: false,
    };
    let interest = EventInterest { message: true, drained: true, gap: true };
    let new = || Client::new(Arc::clone(&context), negotiated, Peer::Unix, interest);
    let (client, another) = (new(), new());
    client.post(Event::Message(Message::Text(Bytes::new())));
    let turn = Turn::begin(Arc::clone(&client));
    type Check<'a> = (&'static str, Box<dyn FnOnce() + 'a>);
    let checks: Vec<Check<'_>> = vec![
        ("write", Box::new(|| assert!(!client.write_message(true, b"x")))),
        ("pending", Box::new(|| assert!(client.pending().is_none()))),
        ("close", Box::new(|| client.close(CloseStatus::new(1000, "")))),
        ("is_open", Box::new(|| assert!(!client.is_open()))),
        ("close_status", Box::new(|| assert!(client.close_status().is_none()))),
        ("interval", Box::new(|| assert!(client.interval().is_none()))),
        ("set_interval", Box::new(|| client.set_interval(None))),
        ("swap_handler", Box::new(|| assert!(!client.swap_handler(true, interest)))),
        ("widen_interest", Box::new(|| client.widen_interest(interest))),
        ("set_interest", Box::new(|| client.set_interest(interest))),
        ("retire", Box::new(|| client.retire())),
        ("subscribe", Box::new(|| assert!(!client.subscribe(Subscription::to("x")).unwrap()))),
        ("subscribe_call", Box::new(|| assert!(client.subscribe_call(Target::Channel("x"), None).unwrap().is_none()))),
        ("unsubscribe", Box::new(|| assert!(!client.unsubscribe(Target::Channel("x")).0))),
        ("begin_replay", Box::new(|| client.begin_replay())),
        ("recovered", Box::new(|| assert!(client.recovered().is_none()))),
        ("is_subscribed", Box::new(|| assert!(!client.is_subscribed()))),
        ("take_published", Box::new(|| assert!(client.take_published(1).messages.is_empty()))),
        ("return_published", Box::new(|| client.return_published(1, Vec::new()))),
        ("dismiss", Box::new(|| client.dismiss())),
        ("abandon", Box::new(|| another.abandon())),
        ("next_event", Box::new(|| assert!(turn.next_event().is_none()))),
        ("a turn that ends", Box::new(|| drop(Turn::begin(Arc::clone(&client))))),
    ];
    let locks = (
        client.outbox.lock(),
        client.mailbox.lock(),
        client.in_flight.lock(),
        another.outbox.lock(),
        context.clients.lock(),
        queue.0.lock(),
    );
    let blocked: Vec<_> =
        checks.into_iter().filter_map(|(name, check)| (!returns_in_child(check)).then_some(name)).collect();
    drop(locks);
    assert_eq!(blocked, Vec::<&str>::new());
}
