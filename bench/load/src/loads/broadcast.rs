//! Messages on one WebSocket, which all listeners must get.

use super::shared::{self, Shared};
use super::{answer_ping, broken};
use crate::failure::{Failure, check};
use crate::net::connect::{Connection, Opener};
use crate::plan::{Message, Plan};
use crate::protocol::inflate::Inflater;
use crate::protocol::stream::{Incoming, Stream};
use crate::protocol::websocket::{TEXT, masked};
use crate::ring::{Ring, json, text};
use crate::session::{Load, Session};

/// What a listener gets once it gets every message from then on.
const READY: &[u8] = b"ready";

/// Rounds: each is a message on the control connection, and each delivery to a listener is an operation. The plan says how
/// many rounds are in flight. When all listeners have got a message, another round begins.
#[derive(Debug)]
pub struct Broadcast {
    stream: Stream,
    triggers: Ring,
    texts: Ring,
    in_flight: usize,
    /// How many rounds have begun, and ended.
    begun: u64,
    ended: u64,
    rounds: Vec<Round>,
    /// How many messages each listener has got.
    received: Vec<u64>,
    inflater: Inflater,
    /// If the listeners share connections.
    shared: Option<Shared>,
}

/// A round in flight.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    begun_at: u64,
    deliveries: usize,
}

/// The index of the control connection. The ones after it are listeners.
pub(super) const CONTROL: usize = 0;

/// Opens the control connection and the listeners, and waits until each listener is told that it gets messages.
pub fn connect(plan: &Plan) -> Result<Vec<Connection>, Failure> {
    let opener = Opener::new(plan.target());
    let mut connections = vec![opener.upgrade(Stream::WebSocket, &plan.path)?];
    for index in 1..=plan.connections {
        if let Some(streams) = plan.streams {
            connections.push(shared::open(opener, &plan.listen_path, streams, Some(READY))?);
            continue;
        }
        let mut listener = opener.upgrade(plan.stream, &plan.listen_path)?;
        await_ready(&mut listener, plan.stream, index)?;
        connections.push(listener);
    }
    Ok(connections)
}

/// Waits until a listener is told that it gets messages.
pub(super) fn await_ready(listener: &mut Connection, stream: Stream, index: usize) -> Result<(), Failure> {
    loop {
        match stream.next(&listener.rest).map_err(|why| broken(index, why))? {
            None => listener.read()?,
            Some((Incoming::Message(greeting), length)) => {
                check("its greeting", index, READY, greeting)?;
                listener.rest.drain(..length);
                return Ok(());
            }
            Some(_) => return Err(broken(index, "a ping came before anything else".into())),
        }
    }
}

/// Parses what came on connection `index`, and gives `deliver` each message of a listener. Returns the number of bytes
/// that were parsed.
pub(super) fn listen(
    stream: Stream,
    index: usize,
    bytes: &[u8],
    inflater: &mut Inflater,
    session: &mut Session,
    mut deliver: impl FnMut(&[u8], &mut Session) -> Result<(), Failure>,
) -> Result<usize, Failure> {
    let stream = if index == CONTROL { Stream::WebSocket } else { stream };
    let mut used = 0;
    while let Some((incoming, length)) = stream.next(&bytes[used..]).map_err(|why| broken(index, why))? {
        used += length;
        match incoming {
            Incoming::Message(_) if index == CONTROL => {
                return Err(broken(index, "a message came on the control connection".into()));
            }
            Incoming::Message(payload) => deliver(payload, session)?,
            Incoming::Compressed(payload) => {
                let payload = inflater.inflate(payload).map_err(|why| broken(index, why))?;
                deliver(payload, session)?;
            }
            Incoming::Ping(payload) => answer_ping(session, index, payload)?,
            Incoming::Pong => {}
        }
    }
    Ok(used)
}

impl Broadcast {
    /// The load of a plan.
    pub fn new(plan: &Plan) -> Self {
        let message = |number| match plan.message {
            Message::Text => text(CONTROL, number, plan.message_size()),
            Message::Json => json(CONTROL, number, plan.message_size()),
        };
        let shared = plan.streams.map(|streams| Shared::new(plan.connections, streams));
        let listeners = shared.as_ref().map_or(plan.connections, Shared::count);
        Broadcast {
            stream: plan.stream,
            triggers: Ring::new(plan.in_flight, |number| masked(TEXT, &message(number))),
            texts: Ring::new(plan.in_flight, message),
            in_flight: plan.in_flight,
            begun: 0,
            ended: 0,
            rounds: vec![Round::default(); plan.in_flight],
            received: vec![0; listeners],
            inflater: Inflater::new(),
            shared,
        }
    }

    /// Begins another round, unless there were enough deliveries.
    fn begin_round_if_more(&mut self, session: &mut Session) -> Result<(), Failure> {
        if !session.meter.begins(self.received.len()) {
            return Ok(());
        }
        session.send(CONTROL, self.triggers.get(self.begun))?;
        self.rounds[self.begun as usize % self.in_flight] = Round { begun_at: session.now, deliveries: 0 };
        self.begun += 1;
        Ok(())
    }

    fn deliver(&mut self, index: usize, payload: &[u8], session: &mut Session) -> Result<(), Failure> {
        let received = &mut self.received[index - 1];
        if *received == self.begun {
            return Err(broken(index, "a message came that was not sent".into()));
        }
        check("a message", index, self.texts.get(*received), payload)?;
        let round = &mut self.rounds[*received as usize % self.in_flight];
        *received += 1;
        round.deliveries += 1;
        session.meter.done(round.begun_at, session.now);
        // Rounds end in their order, since every listener gets the messages in their order.
        if round.deliveries == self.received.len() {
            self.ended += 1;
            self.begin_round_if_more(session)?;
        }
        Ok(())
    }
}

impl Load for Broadcast {
    fn start(&mut self, session: &mut Session) -> Result<(), Failure> {
        (0..self.in_flight).try_for_each(|_| self.begin_round_if_more(session))
    }

    fn receive(&mut self, index: usize, bytes: &[u8], session: &mut Session) -> Result<usize, Failure> {
        let stream = self.stream;
        // `deliver` needs it all, so it is taken out.
        if let Some(mut shared) = self.shared.take_if(|_| index != CONTROL) {
            let deliver = |lane: usize, payload: &[u8], session: &mut Session| self.deliver(lane + 1, payload, session);
            let listened = shared.listen((index - 1, index), bytes, session, deliver);
            self.shared = Some(shared);
            return listened;
        }
        let mut inflater = std::mem::take(&mut self.inflater);
        let deliver = |payload: &[u8], session: &mut Session| self.deliver(index, payload, session);
        let listened = listen(stream, index, bytes, &mut inflater, session, deliver);
        self.inflater = inflater;
        listened
    }

    fn outstanding(&self) -> usize {
        (self.begun - self.ended) as usize
    }
}
