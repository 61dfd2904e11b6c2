//! Requests on keep-alive connections, one at a time on each. A connection that the server closes is opened again: Puma
//! closes connections, for fairness, when others wait to be accepted.

use super::broken;
use crate::failure::{Failure, check};
use crate::plan::Plan;
use crate::protocol::http::{Reader, get, post};
use crate::ring::{Ring, text};
use crate::session::{Load, Session};

/// Requests, each sent when the one before it on its connection has been answered.
#[derive(Debug)]
pub struct Http {
    lanes: Vec<Lane>,
    reader: Reader,
    outstanding: usize,
}

/// What belongs to one connection.
#[derive(Debug)]
struct Lane {
    requests: Ring,
    answers: Ring,
    sent: u64,
    sent_at: u64,
    answered: u64,
}

impl Http {
    /// GET requests, or, if the plan has a size, POST requests whose body the server must send back.
    pub fn new(plan: &Plan) -> Self {
        let lane = |index| {
            let (requests, answers) = match plan.size {
                None => (Ring::new(1, |_| get(&plan.path)), Ring::new(1, |_| plan.expect.clone().into_bytes())),
                Some(size) => (
                    Ring::new(1, |number| post(&plan.path, &text(index, number, size))),
                    Ring::new(1, |number| text(index, number, size)),
                ),
            };
            Lane { requests, answers, sent: 0, sent_at: 0, answered: 0 }
        };
        Http { lanes: (0..plan.connections).map(lane).collect(), reader: Reader::default(), outstanding: 0 }
    }

    /// Sends another request, unless all were sent.
    fn send_if_more(&mut self, index: usize, session: &mut Session) -> Result<(), Failure> {
        if !session.meter.begins(1) {
            return Ok(());
        }
        let lane = &mut self.lanes[index];
        session.send(index, lane.requests.get(lane.sent))?;
        lane.sent += 1;
        lane.sent_at = session.now;
        self.outstanding += 1;
        Ok(())
    }
}

impl Load for Http {
    fn start(&mut self, session: &mut Session) -> Result<(), Failure> {
        (0..self.lanes.len()).try_for_each(|index| self.send_if_more(index, session))
    }

    fn receive(&mut self, index: usize, bytes: &[u8], session: &mut Session) -> Result<usize, Failure> {
        let Some(answer) = self.reader.next(bytes).map_err(|why| broken(index, why))? else { return Ok(0) };
        let lane = &mut self.lanes[index];
        if lane.answered == lane.sent {
            return Err(broken(index, "an answer came without a request".into()));
        }
        let number = lane.answered;
        if answer.status != 200 {
            return Err(broken(index, format!("request {number} was answered with status {}", answer.status)));
        }
        check("the answer", index, lane.answers.get(number), answer.body)?;
        if answer.length < bytes.len() {
            return Err(broken(index, format!("there is more behind the answer to request {number}")));
        }
        lane.answered += 1;
        session.meter.done(lane.sent_at, session.now);
        self.outstanding -= 1;
        if answer.closes {
            session.reopen(index)?;
        }
        self.send_if_more(index, session)?;
        Ok(answer.length)
    }

    fn outstanding(&self) -> usize {
        self.outstanding
    }
}
