//! Messages at a fixed rate on one WebSocket, which all listeners must get, except the ones that do not read.

use super::broadcast::{CONTROL, await_ready, listen};
use super::broken;
use crate::failure::{Failure, check, excerpt};
use crate::net::connect::{Connection, Opener};
use crate::plan::Plan;
use crate::process::ProcessTree;
use crate::protocol::inflate::Inflater;
use crate::protocol::stream::Stream;
use crate::protocol::websocket::{TEXT, masked};
use crate::report::Report;
use crate::ring::LEAST_TEXT;
use crate::session::{Load, Session};

/// Messages that are sent at fixed times, even if the ones before have not arrived. A delivery is an operation; its latency
/// counts from when the message was due.
///
/// A message may be missing, which is counted, since a server may be told to skip. It must not come out of order or twice.
#[derive(Debug)]
struct Tide {
    stream: Stream,
    interval: f64,
    /// The bytes of all messages, without their numbers.
    text: Vec<u8>,
    /// How many messages have been due.
    due: u64,
    /// For each listener, the number of the next message.
    next: Vec<u64>,
    skipped: u64,
}

/// Opens the connections and runs the load. The connections that do not read stay open until its end.
pub fn run(plan: &Plan) -> Result<Report, Failure> {
    let opener = Opener::new(plan.target());
    let mut connections = vec![opener.upgrade(Stream::WebSocket, &plan.path)?];
    for index in 1..=plan.connections {
        connections.push(listener(opener, plan, index)?);
    }
    let stuck = (0..plan.stuck).map(|index| listener(opener, plan, 1 + plan.connections + index));
    let stuck = stuck.collect::<Result<Vec<_>, _>>()?;

    let mut session = Session::new(plan.target(), connections)?;
    let mut load = Tide::new(plan);
    let window = session.run(&mut load, plan.schedule, plan.pid.map(ProcessTree::new))?;
    drop(stuck);
    let mut report = Report::new(plan.connections, &session.meter, &window);
    report.add("skipped", Some(load.skipped as f64));
    Ok(report)
}

fn listener(opener: Opener, plan: &Plan, index: usize) -> Result<Connection, Failure> {
    let mut listener = opener.upgrade(plan.stream, &plan.listen_path)?;
    await_ready(&mut listener, plan.stream, index)?;
    Ok(listener)
}

impl Tide {
    fn new(plan: &Plan) -> Self {
        Tide {
            stream: plan.stream,
            interval: 1e9 / plan.rate as f64,
            text: text(0, plan.message_size()),
            due: 0,
            next: vec![0; plan.connections],
            skipped: 0,
        }
    }

    fn due_at(&self, number: u64) -> u64 {
        (number as f64 * self.interval) as u64
    }

    fn deliver(&mut self, index: usize, payload: &[u8], session: &mut Session) -> Result<(), Failure> {
        let unexpected = || broken(index, format!("a message came that was not due: {:?}", excerpt(payload)));
        let (head, rest) = payload.split_at_checked(LEAST_TEXT).ok_or_else(unexpected)?;
        let number = std::str::from_utf8(head).ok().and_then(|head| head.trim_end().parse().ok());
        let number: u64 = number.ok_or_else(unexpected)?;
        check("a message", index, &self.text[LEAST_TEXT..], rest)?;
        let next = &mut self.next[index - 1];
        if number < *next || number >= self.due {
            return Err(unexpected());
        }
        self.skipped += number - *next;
        *next = number + 1;
        session.meter.done(self.due_at(number), session.now);
        Ok(())
    }
}

impl Load for Tide {
    fn start(&mut self, _session: &mut Session) -> Result<(), Failure> {
        Ok(())
    }

    fn tick(&mut self, session: &mut Session) -> Result<Option<u64>, Failure> {
        if !session.meter.sending() {
            return Ok(None);
        }
        while self.due_at(self.due) <= session.now {
            let size = self.text.len();
            session.send(CONTROL, &masked(TEXT, &text(self.due, size)))?;
            self.due += 1;
        }
        Ok(Some(self.due_at(self.due)))
    }

    fn receive(&mut self, index: usize, bytes: &[u8], session: &mut Session) -> Result<usize, Failure> {
        let stream = self.stream;
        listen(stream, index, bytes, &mut Inflater::new(), session, |payload, session| {
            self.deliver(index, payload, session)
        })
    }

    fn outstanding(&self) -> usize {
        self.next.iter().map(|next| self.due - next).max().unwrap_or(0) as usize
    }
}

/// The text of message `number`.
fn text(number: u64, size: usize) -> Vec<u8> {
    let mut text = format!("{number:0width$} ", width = LEAST_TEXT - 1).into_bytes();
    text.extend((b'a'..=b'z').cycle().take(size.saturating_sub(text.len())));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_differ_in_their_number_alone() {
        assert_eq!(text(7, 15), b"00000000007 abc");
        assert_eq!(text(8, LEAST_TEXT), b"00000000008 ");
    }
}
