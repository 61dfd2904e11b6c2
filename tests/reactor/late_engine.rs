//! An engine that numbers messages when the test says so, as a hub does in another process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use push_core::channel::engine::{Engine, EngineState, Full, LogEnd, Submitted};
use push_core::channel::{
    Command, Cursor, Draft, Epoch, Event, Forgotten, Limits, Message, Progress, Reset, Ticket, Wake,
};

pub struct LateEngine {
    wake: Arc<dyn Wake>,
    progress: Arc<Progress>,
    state: Mutex<State>,
}

struct State {
    position: Cursor,
    queue: VecDeque<(Arc<Message>, Arc<Ticket>)>,
    events: Vec<Event>,
    questions: Vec<Arc<LogEnd>>,
}

impl LateEngine {
    pub fn new(wake: Arc<dyn Wake>) -> Arc<Self> {
        let position = Cursor { epoch: Epoch::new(), seq: 0 };
        let state = State { position, queue: VecDeque::new(), events: Vec::new(), questions: Vec::new() };
        Arc::new(LateEngine { wake, progress: Arc::default(), state: Mutex::new(state) })
    }

    /// How many messages have no number.
    pub fn queued(&self) -> usize {
        self.state.lock().unwrap().queue.len()
    }

    /// How often it was asked for the end of the log without an answer.
    pub fn questions(&self) -> usize {
        self.state.lock().unwrap().questions.len()
    }

    /// Says where the log of all processes ends, to all who have asked.
    pub fn answer(&self, end: Cursor) {
        let questions = std::mem::take(&mut self.state.lock().unwrap().questions);
        questions.iter().for_each(|question| question.answer(end));
        self.wake.wake();
    }

    /// Messages of another process arrive.
    pub fn receive(&self, count: u64) {
        let mut state = self.state.lock().unwrap();
        for _ in 0..count {
            state.position.seq += 1;
            let message = Message::new(&Draft::text("news", b"other"), &Limits::default(), Instant::now()).unwrap();
            message.number(state.position.seq);
            state.events.push(Event::Message(message));
        }
        drop(state);
        self.wake.wake();
    }

    /// Another epoch begins, without messages. `last` is its number.
    pub fn begin_anew(&self, position: Cursor) {
        let mut state = self.state.lock().unwrap();
        state.position = position;
        let Cursor { epoch, seq: last } = position;
        let forgotten = Forgotten::all(0);
        let reset = Reset { epoch, last, forgotten, floors: Vec::new(), history: Vec::new(), members: Vec::new() };
        state.events.push(Event::Reset(Box::new(reset)));
        drop(state);
        self.wake.wake();
    }

    /// Numbers the first `count` messages, and tells of all of them at once.
    pub fn number(&self, count: usize) {
        let mut state = self.state.lock().unwrap();
        for _ in 0..count {
            let (message, ticket) = state.queue.pop_front().unwrap();
            state.position.seq += 1;
            message.number(state.position.seq);
            self.progress.settle(&ticket, Ok(state.position));
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

    fn ask_end(&self) -> Option<Arc<LogEnd>> {
        let question = Arc::<LogEnd>::default();
        self.state.lock().unwrap().questions.push(Arc::clone(&question));
        Some(question)
    }

    fn state(&self) -> EngineState {
        EngineState::Ready
    }

    fn progress(&self) -> Option<&Arc<Progress>> {
        Some(&self.progress)
    }
}
