//! Messages on WebSockets, which the server must echo.

use super::{answer_ping, broken};
use crate::failure::{Failure, check};
use crate::plan::Plan;
use crate::protocol::stream::{Incoming, Stream};
use crate::protocol::websocket::{TEXT, masked};
use crate::ring::{Ring, text};
use crate::session::{Load, Session};

/// The plan says how many messages are in flight on each connection. For each echo another message is sent, and for all
/// echoes of one read there is one write.
#[derive(Debug)]
pub struct Echo {
    lanes: Vec<Lane>,
    in_flight: usize,
    outstanding: usize,
}

/// What belongs to one connection.
#[derive(Debug)]
struct Lane {
    frames: Ring,
    texts: Ring,
    sent: u64,
    received: u64,
    /// When the messages in flight were sent, by their number.
    sent_at: Vec<u64>,
}

impl Echo {
    /// The load of a plan.
    pub fn new(plan: &Plan) -> Self {
        let size = plan.message_size();
        let lane = |index| Lane {
            frames: Ring::new(plan.in_flight, |number| masked(TEXT, &text(index, number, size))),
            texts: Ring::new(plan.in_flight, |number| text(index, number, size)),
            sent: 0,
            received: 0,
            sent_at: vec![0; plan.in_flight],
        };
        Echo { lanes: (0..plan.connections).map(lane).collect(), in_flight: plan.in_flight, outstanding: 0 }
    }

    /// Sends so many more messages, unless all were sent.
    fn send_if_more(&mut self, index: usize, most: usize, session: &mut Session) -> Result<(), Failure> {
        let count = (0..most).take_while(|_| session.meter.begins(1)).count();
        if count == 0 {
            return Ok(());
        }
        let lane = &mut self.lanes[index];
        session.send(index, lane.frames.run(lane.sent, count))?;
        for _ in 0..count {
            lane.sent_at[lane.sent as usize % self.in_flight] = session.now;
            lane.sent += 1;
        }
        self.outstanding += count;
        Ok(())
    }
}

impl Load for Echo {
    fn start(&mut self, session: &mut Session) -> Result<(), Failure> {
        (0..self.lanes.len()).try_for_each(|index| self.send_if_more(index, self.in_flight, session))
    }

    fn receive(&mut self, index: usize, bytes: &[u8], session: &mut Session) -> Result<usize, Failure> {
        let lane = &mut self.lanes[index];
        let mut used = 0;
        let mut returned = 0;
        while let Some((incoming, length)) = Stream::WebSocket.next(&bytes[used..]).map_err(|why| broken(index, why))? {
            used += length;
            match incoming {
                Incoming::Message(payload) => {
                    if lane.received == lane.sent {
                        return Err(broken(index, "a message came that was not sent".into()));
                    }
                    check("a message", index, lane.texts.get(lane.received), payload)?;
                    session.meter.done(lane.sent_at[lane.received as usize % self.in_flight], session.now);
                    lane.received += 1;
                    returned += 1;
                }
                Incoming::Ping(payload) => answer_ping(session, index, payload)?,
                Incoming::Pong => {}
                Incoming::Compressed(_) => {
                    return Err(broken(index, "a compressed message came, which was not agreed on".into()));
                }
            }
        }
        self.outstanding -= returned;
        self.send_if_more(index, returned, session)?;
        Ok(used)
    }

    fn outstanding(&self) -> usize {
        self.outstanding
    }
}
