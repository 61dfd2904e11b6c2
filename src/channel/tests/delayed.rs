//! An engine that numbers messages when the test says so, refuses, loses, and begins anew.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::base::lock::Lock;
use crate::channel::engine::{Engine, EngineState, Full, Submitted};
use crate::channel::{
    Command, Cursor, Draft, Epoch, Event, Forgotten, Limits, Message, PresentMember, Progress, Reset, Ticket,
    Unpublished, Wake,
};

/// What waits for its place in the order.
enum Queued {
    Message(Arc<Message>, Arc<Ticket>),
    Command(Command),
}

pub(crate) struct DelayedEngine {
    process: u32,
    wake: Arc<dyn Wake>,
    progress: Arc<Progress>,
    state: Lock<State>,
}

struct State {
    position: Cursor,
    /// It takes so many things before it is full.
    room: usize,
    away: bool,
    queue: VecDeque<Queued>,
    events: Vec<Event>,
}

impl DelayedEngine {
    pub(crate) fn new(process: u32, wake: Arc<dyn Wake>) -> Arc<Self> {
        let position = Cursor { epoch: Epoch::new(), seq: 0 };
        let state = State { position, room: usize::MAX, away: false, queue: VecDeque::new(), events: Vec::new() };
        Arc::new(DelayedEngine { process, wake, progress: Arc::default(), state: Lock::new(state) })
    }

    /// Takes no more than `room` things that wait.
    pub(crate) fn set_room(&self, room: usize) {
        self.state.lock().room = room;
        self.progress.notify();
    }

    pub(crate) fn set_away(&self, away: bool) {
        self.state.lock().away = away;
    }

    /// How much waits.
    pub(crate) fn queued(&self) -> usize {
        self.state.lock().queue.len()
    }

    /// Gives the first `count` of what waits their places. Returns the messages, each with its cursor.
    pub(crate) fn order(&self, count: usize) -> Vec<(Arc<Message>, Cursor)> {
        let mut state = self.state.lock();
        let count = count.min(state.queue.len());
        let (mut ordered, mut settled) = (Vec::new(), Vec::new());
        for queued in state.queue.drain(..count).collect::<Vec<_>>() {
            match queued {
                Queued::Message(message, ticket) => {
                    state.position.seq += 1;
                    message.number(state.position.seq);
                    ordered.push((Arc::clone(&message), state.position));
                    settled.push((ticket, state.position));
                    state.events.push(Event::Message(message));
                }
                Queued::Command(command) => {
                    state.position.seq += 1;
                    let seq = state.position.seq;
                    state.events.push(Event::Command { seq, command });
                }
            }
        }
        drop(state);
        settled.iter().for_each(|(ticket, cursor)| self.progress.settle(ticket, Ok(*cursor)));
        self.progress.notify();
        self.wake.wake();
        ordered
    }

    /// Numbers that no message of this process has, because other processes have them.
    pub(crate) fn skip(&self, count: u64) {
        self.state.lock().position.seq += count;
    }

    /// Messages of others were lost on the way.
    pub(crate) fn lose(&self, count: u64) {
        let mut state = self.state.lock();
        state.position.seq += count;
        let to = state.position.seq;
        state.events.push(Event::Lost { to });
        drop(state);
        self.wake.wake();
    }

    /// Begins anew. What waits is lost, unless it is `kept`: then it gets its place in the new order.
    pub(crate) fn reset(&self, kept: bool, last: u64, history: Vec<Arc<Message>>, floors: Vec<(Arc<str>, u64)>) {
        self.reset_with(kept, Reset { last, floors, history, ..self.empty() });
    }

    /// A log without anything.
    pub(crate) fn empty(&self) -> Reset {
        let forgotten = Forgotten::all(0);
        Reset { epoch: Epoch::new(), last: 0, forgotten, floors: Vec::new(), history: Vec::new(), members: Vec::new() }
    }

    /// The same with all of the new log but its floors for unknown channels.
    pub(crate) fn reset_with(&self, kept: bool, reset: Reset) {
        let mut state = self.state.lock();
        state.position = Cursor { epoch: reset.epoch, seq: reset.last };
        let reset = Reset { forgotten: Forgotten::all(reset.last), ..reset };
        state.events.push(Event::Reset(Box::new(reset)));
        let lost: Vec<_> = if kept { Vec::new() } else { state.queue.drain(..).collect() };
        drop(state);
        for queued in lost {
            if let Queued::Message(_, ticket) = queued {
                self.progress.settle(&ticket, Err(Unpublished::Lost));
            }
        }
        self.progress.notify();
        self.wake.wake();
    }

    /// This process has got nothing for a while. `missed` says of each message of others since then: its channel, and
    /// whether others still have the message. Returns the numbers of those that come back.
    pub(crate) fn catch_up(&self, missed: &[(&str, bool)]) -> Vec<(u64, String)> {
        self.catch_up_with(missed, Vec::new())
    }

    /// The same; these are the members at the end.
    pub(crate) fn catch_up_with(&self, missed: &[(&str, bool)], members: Vec<PresentMember>) -> Vec<(u64, String)> {
        let mut state = self.state.lock();
        let seen = state.position.seq;
        let (mut floors, mut history) = (std::collections::BTreeMap::new(), Vec::new());
        for (name, kept) in missed {
            state.position.seq += 1;
            if *kept {
                let draft = Draft::text(name, b"kept");
                let message = Message::new(&draft, &Limits::default(), Instant::now()).unwrap();
                message.number(state.position.seq);
                history.push(message);
            } else {
                floors.insert(Arc::<str>::from(*name), state.position.seq);
            }
        }
        history.retain(|message| floors.get(message.channel()).is_none_or(|floor| *floor < message.seq()));
        let back = history.iter().map(|message| (message.seq(), message.channel().to_string())).collect();
        let Cursor { epoch, seq: last } = state.position;
        let (forgotten, floors) = (Forgotten::all(seen), floors.into_iter().collect());
        let reset = Reset { epoch, last, forgotten, floors, history, members };
        state.events.push(Event::Reset(Box::new(reset)));
        drop(state);
        self.wake.wake();
        back
    }

    /// A command of another process.
    pub(crate) fn other(&self, command: Command) {
        let mut state = self.state.lock();
        state.position.seq += 1;
        let seq = state.position.seq;
        state.events.push(Event::Command { seq, command });
        drop(state);
        self.wake.wake();
    }
}

impl Engine for DelayedEngine {
    fn position(&self) -> Cursor {
        self.state.lock().position
    }

    fn process(&self) -> u32 {
        self.process
    }

    fn submit(&self, message: Arc<Message>) -> Result<Submitted, Full<Arc<Message>>> {
        let mut state = self.state.lock();
        if state.queue.len() >= state.room {
            return Err(Full(message));
        }
        let ticket = self.progress.submit();
        state.queue.push_back(Queued::Message(message, Arc::clone(&ticket)));
        Ok(Submitted::Queued(ticket))
    }

    fn take(&self, events: &mut Vec<Event>) {
        events.append(&mut self.state.lock().events);
    }

    fn command(&self, command: Command) -> Result<(), Full<Command>> {
        let mut state = self.state.lock();
        if state.queue.len() >= state.room {
            return Err(Full(command));
        }
        state.queue.push_back(Queued::Command(command));
        Ok(())
    }

    fn state(&self) -> EngineState {
        if self.state.lock().away { EngineState::Away } else { EngineState::Ready }
    }

    fn progress(&self) -> Option<&Arc<Progress>> {
        Some(&self.progress)
    }
}
