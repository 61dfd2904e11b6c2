//! GET requests at a fixed rate, of which some may be slow.

use std::collections::VecDeque;

use super::broken;
use crate::failure::{Failure, check};
use crate::plan::Plan;
use crate::protocol::http::{Reader, get};
use crate::session::{Load, Session};

/// Requests that are due at fixed times, even if earlier ones have no answer yet. While a server stalls, all requests that
/// become due wait, and latency counts from when a request was due. Each takes the connection that has been free for the
/// longest time. If all are busy, the request waits for one.
///
/// Slow requests are operations, but their latency is not recorded.
#[derive(Debug)]
pub struct Paced {
    quick: Exchange,
    slow: Exchange,
    slow_every: Option<u64>,
    interval: f64,
    /// How many requests have been due.
    due: u64,
    waiting: VecDeque<Request>,
    free: VecDeque<usize>,
    busy: Vec<Option<Request>>,
    reader: Reader,
}

/// A request, and the body of the answer to it.
#[derive(Debug)]
struct Exchange {
    request: Vec<u8>,
    body: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Request {
    due_at: u64,
    slow: bool,
}

impl Paced {
    /// The load of a plan.
    pub fn new(plan: &Plan) -> Self {
        let exchange = |path: &str, body: &str| Exchange { request: get(path), body: body.into() };
        Paced {
            quick: exchange(&plan.path, &plan.expect),
            slow: exchange(&plan.slow_path, &plan.slow_expect),
            slow_every: plan.slow_every,
            interval: 1e9 / plan.rate as f64,
            due: 0,
            waiting: VecDeque::with_capacity(4096),
            free: (0..plan.connections).collect(),
            busy: vec![None; plan.connections],
            reader: Reader::default(),
        }
    }

    fn due_at(&self) -> u64 {
        (self.due as f64 * self.interval) as u64
    }

    /// Gives waiting requests to free connections.
    fn send(&mut self, session: &mut Session) -> Result<(), Failure> {
        while let (Some(&index), Some(&request)) = (self.free.front(), self.waiting.front()) {
            self.free.pop_front();
            self.waiting.pop_front();
            self.busy[index] = Some(request);
            session.send(index, &self.exchange(request).request)?;
        }
        Ok(())
    }

    fn exchange(&self, request: Request) -> &Exchange {
        if request.slow { &self.slow } else { &self.quick }
    }
}

impl Load for Paced {
    fn start(&mut self, _session: &mut Session) -> Result<(), Failure> {
        Ok(())
    }

    fn tick(&mut self, session: &mut Session) -> Result<Option<u64>, Failure> {
        if !session.meter.sending() {
            return Ok(None);
        }
        while self.due_at() <= session.now {
            let due_at = self.due_at();
            self.due += 1;
            let slow = self.slow_every.is_some_and(|every| self.due.is_multiple_of(every));
            self.waiting.push_back(Request { due_at, slow });
        }
        self.send(session)?;
        Ok(Some(self.due_at()))
    }

    fn receive(&mut self, index: usize, bytes: &[u8], session: &mut Session) -> Result<usize, Failure> {
        let Some(answer) = self.reader.next(bytes).map_err(|why| broken(index, why))? else { return Ok(0) };
        let Some(request) = self.busy[index].take() else {
            return Err(broken(index, "an answer came without a request".into()));
        };
        if answer.status != 200 {
            return Err(broken(index, format!("a request was answered with status {}", answer.status)));
        }
        check("the answer", index, &self.exchange(request).body, answer.body)?;
        if request.slow {
            session.meter.done_untimed();
        } else {
            session.meter.done(request.due_at, session.now);
        }
        if answer.closes {
            session.reopen(index)?;
        }
        self.free.push_back(index);
        self.send(session)?;
        Ok(answer.length)
    }

    fn outstanding(&self) -> usize {
        self.waiting.len() + self.busy.len() - self.free.len()
    }
}
