//! TLS handshakes: connections on which nothing else is done.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Instant;

use rustls::client::ClientConnection;

use super::broken;
use crate::failure::Failure;
use crate::meter::{Meter, Stage};
use crate::net::epoll::{Epoll, Events};
use crate::net::socket::client;
use crate::plan::Plan;
use crate::process::ProcessTree;
use crate::report::Report;
use crate::session::{Reckoning, nanoseconds};

/// A connection, from its beginning to its end.
struct Lane {
    socket: TcpStream,
    tls: ClientConnection,
    /// It has said that nothing follows, and waits for the server to do the same.
    over: bool,
    /// When it began, in ns.
    since: u64,
}

/// Runs the load: as many connections as the plan says at a time. One is an operation when the server has closed it. The server
/// closes first, so that this machine does not run out of ports.
pub fn run(plan: &Plan) -> Result<Report, Failure> {
    let failed = |error: io::Error| Failure::system("a TLS connection", &error);
    let (server, start) = (plan.pid.map(ProcessTree::new), Instant::now());
    let clock = || nanoseconds(start.elapsed());
    let (epoll, mut events, mut meter) = (Epoll::new().map_err(failed)?, Events::new(), Meter::new());
    let open = |index: usize| -> io::Result<Lane> {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, plan.port))?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        epoll.add(&socket, index)?;
        let mut lane = Lane { socket, tls: client()?, over: false, since: clock() };
        lane.turn()?;
        Ok(lane)
    };
    let mut lanes = (0..plan.connections).map(open).collect::<io::Result<Vec<_>>>().map_err(failed)?;
    let warm = nanoseconds(plan.schedule.warm_up);
    let (mut before, mut begin) = (Reckoning::now(server), 0);
    loop {
        epoll.wait(&mut events, 100).map_err(failed)?;
        let now = clock();
        if meter.stage == Stage::WarmUp && now >= warm {
            (before, begin) = (Reckoning::now(server), now);
            meter.stage = Stage::Measuring;
        }
        if meter.stage == Stage::Measuring && now >= begin + nanoseconds(plan.schedule.measured) {
            return Ok(Report::new(plan.connections, &meter, &before.window(server, now - begin)));
        }
        for index in events.iter().map(|event| event.index) {
            let lane = &mut lanes[index];
            if lane.turn().map_err(|error| broken(index, error.to_string()))? {
                meter.done(lane.since, clock());
                *lane = open(index).map_err(failed)?;
            }
        }
    }
}

impl Lane {
    /// Goes on as far as possible. Whether the server has closed it.
    fn turn(&mut self) -> io::Result<bool> {
        loop {
            while self.tls.wants_write() {
                match self.tls.write_tls(&mut self.socket) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
            if !self.tls.is_handshaking() && !self.over {
                self.tls.send_close_notify();
                self.over = true;
                continue;
            }
            match self.tls.read_tls(&mut self.socket) {
                Ok(0) if self.over => return Ok(true),
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {
                    self.tls.process_new_packets().map_err(io::Error::other)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }
}
