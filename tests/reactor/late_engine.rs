//! An engine that numbers messages when the test says so, as a hub does in another process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use push_core::channel::engine::{Engine, EngineState, Full, Submitted};
use push_core::channel::{Command, Cursor, Epoch, Event, Message, Progress, Ticket, Wake};

pub struct LateEngine {
    wake: Arc<dyn Wake>,
    progress: Arc<Progress>,
    state: Mutex<State>,
}

struct State {
    position: Cursor,
    queue: VecDeque<(Arc<Message>, Arc<Ticket>)>,
    events: Vec<Event>,
}

impl LateEngine {
    pub fn new(wake: Arc<dyn Wake>) -> Arc<Self> {
        let position = Cursor { epoch: Epoch::new(), seq: 0 };
        let state = State { position, queue: VecDeque::new(), events: Vec::new() };
        Arc::new(LateEngine { wake, progress: Arc::default(), state: Mutex::new(state) })
    }

    /// How many messages have no number.
    pub fn queued(&self) -> usize {
        self.state.lock().unwrap().queue.len()
    }

    /// Numbers the first `count` messages, and tells of all of them at once.
    pub fn number(&self, count: usize) {
        let mut state = self.state.lock().unwrap();
        for _ in 0..count {
            let (message, ticket) = state.queue.pop_front().unwrap();
            state.position.seq += 1;
            message.number(state.position.seq);
            self.progress.settle(&ticket, Some(state.position));
            state.events.push(Event::Message(message));
        }
        drop(state);
        self.wake.wake();
    }
}

impl Engine for LateEngine {
    fn position(&self) -> Cursor {
        self.state.lock().unwrap().position
    }

    fn process(&self) -> u32 {
        1
    }

    fn submit(&self, message: Arc<Message>) -> Result<Submitted, Full<Arc<Message>>> {
        let mut state = self.state.lock().unwrap();
        let ticket = self.progress.submit();
        state.queue.push_back((message, Arc::clone(&ticket)));
        Ok(Submitted::Queued(ticket))
    }

    fn take(&self, events: &mut Vec<Event>) {
        events.append(&mut self.state.lock().unwrap().events);
    }

    fn command(&self, _command: Command) -> Result<(), Full<Command>> {
        Ok(())
    }

    fn state(&self) -> EngineState {
        EngineState::Ready
    }

    fn progress(&self) -> Option<&Arc<Progress>> {
        Some(&self.progress)
    }
}
