//! Event streams that share connections of HTTP/2.

use std::io::Write;

use super::broken;
use crate::failure::{Failure, check};
use crate::net::connect::{Connection, Opener};
use crate::protocol::h2::{self, Frame, Unreported};
use crate::protocol::sse;
use crate::session::Session;

/// The streams of some connections, each of which has as many.
#[derive(Debug)]
pub struct Shared {
    streams: usize,
    connections: Vec<Unreported>,
    lanes: Vec<Lane>,
}

/// What belongs to one stream.
#[derive(Debug, Default)]
struct Lane {
    unreported: Unreported,
    /// The beginning of an event whose end has not come.
    tail: Vec<u8>,
}

/// Opens a connection, and its streams one after the other. Waits until each has got this `greeting`, if there is one.
pub fn open(opener: Opener, path: &str, streams: usize, greeting: Option<&[u8]>) -> Result<Connection, Failure> {
    let mut connection = opener.open()?;
    send(&mut connection, &h2::preface())?;
    for number in 0..streams {
        send(&mut connection, &h2::request(path, number))?;
        let (mut opened, mut greeted) = (false, greeting.is_none());
        while !(opened && greeted) {
            let Some((frame, length)) = h2::next(&connection.rest).map_err(|why| broken(number, why))? else {
                connection.read()?;
                continue;
            };
            let mut reply = Vec::new();
            match frame {
                Frame::Opened(_) => opened = true,
                Frame::Data(_, bytes) => {
                    if let (Some(greeting), Some((data, _))) = (greeting, sse::next(bytes)) {
                        check("its greeting", number, greeting, data)?;
                        greeted = true;
                    }
                }
                Frame::Asks(answer) => reply = answer,
                Frame::Other => {}
            }
            connection.rest.drain(..length);
            send(&mut connection, &reply)?;
        }
    }
    Ok(connection)
}

fn send(connection: &mut Connection, bytes: &[u8]) -> Result<(), Failure> {
    let sent = connection.socket.write_all(bytes);
    sent.map_err(|error| Failure::system("opening a stream", &error))
}

impl Shared {
    /// As many `connections`, with as many `streams` each.
    pub fn new(connections: usize, streams: usize) -> Self {
        let lanes = (0..connections * streams).map(|_| Lane::default()).collect();
        Shared { streams, connections: (0..connections).map(|_| Unreported::default()).collect(), lanes }
    }

    /// How many streams there are.
    pub fn count(&self) -> usize {
        self.lanes.len()
    }

    /// Parses what came on a connection: `number` counts the connections from 0, and `index` is the session's. Gives `deliver`
    /// the number of a stream, counted over all connections, and the data of an event. Returns the number of bytes that were
    /// parsed.
    pub fn listen(
        &mut self,
        (number, index): (usize, usize),
        bytes: &[u8],
        session: &mut Session,
        mut deliver: impl FnMut(usize, &[u8], &mut Session) -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        let mut used = 0;
        while let Some((frame, length)) = h2::next(&bytes[used..]).map_err(|why| broken(index, why))? {
            used += length;
            match frame {
                Frame::Data(stream, bytes) if stream < self.streams => {
                    let lane = number * self.streams + stream;
                    self.lanes[lane].take(bytes, |data| deliver(lane, data, session))?;
                    let updates = [
                        self.lanes[lane].unreported.read(bytes.len(), Some(stream)),
                        self.connections[number].read(bytes.len(), None),
                    ];
                    updates.into_iter().flatten().try_for_each(|update| session.send(index, &update))?;
                }
                Frame::Asks(answer) => {
                    session.meter.pinged();
                    session.send(index, &answer)?;
                }
                Frame::Other => {}
                other => return Err(broken(index, format!("{other:?} was not asked for"))),
            }
        }
        Ok(used)
    }
}

impl Lane {
    fn take(&mut self, bytes: &[u8], mut deliver: impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
        if self.tail.is_empty() {
            let used = events(bytes, &mut deliver)?;
            self.tail.extend_from_slice(&bytes[used..]);
        } else {
            self.tail.extend_from_slice(bytes);
            let used = events(&self.tail, &mut deliver)?;
            self.tail.drain(..used);
        }
        Ok(())
    }
}

fn events(bytes: &[u8], deliver: &mut impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<usize, Failure> {
    let mut used = 0;
    while let Some((data, length)) = sse::next(&bytes[used..]) {
        used += length;
        deliver(data)?;
    }
    Ok(used)
}
