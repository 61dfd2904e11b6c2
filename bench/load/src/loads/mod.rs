//! What is sent, and what the server must answer. Each kind of load has a file.

mod broadcast;
mod echo;
mod handshakes;
mod http;
mod idle;
mod paced;
mod shared;
mod tide;

use crate::failure::Failure;
use crate::net::connect::{Connection, Opener};
use crate::plan::{Kind, Plan};
use crate::process::ProcessTree;
use crate::protocol::stream::Stream;
use crate::protocol::websocket::{self, PONG};
use crate::report::Report;
use crate::session::{Load, Session};

/// Opens the connections of a plan, runs the load, and returns its figures.
pub fn run(plan: &Plan) -> Result<Report, Failure> {
    match plan.kind {
        Kind::Http => drive(plan, connections(plan)?, http::Http::new(plan)),
        Kind::Paced => drive(plan, connections(plan)?, paced::Paced::new(plan)),
        Kind::Echo => drive(plan, web_sockets(plan)?, echo::Echo::new(plan)),
        Kind::Broadcast => drive(plan, broadcast::connect(plan)?, broadcast::Broadcast::new(plan)),
        Kind::Idle => idle::run(plan),
        Kind::Tide => tide::run(plan),
        Kind::Handshakes => handshakes::run(plan),
    }
}

/// Runs a load over its connections.
fn drive(plan: &Plan, connections: Vec<Connection>, mut load: impl Load) -> Result<Report, Failure> {
    let mut session = Session::new(plan.target(), connections)?;
    let window = session.run(&mut load, plan.schedule, plan.pid.map(ProcessTree::new))?;
    Ok(Report::new(plan.connections, &session.meter, &window))
}

fn connections(plan: &Plan) -> Result<Vec<Connection>, Failure> {
    let opener = Opener::new(plan.target());
    (0..plan.connections).map(|_| opener.open()).collect()
}

fn web_sockets(plan: &Plan) -> Result<Vec<Connection>, Failure> {
    let opener = Opener::new(plan.target());
    (0..plan.connections).map(|_| opener.upgrade(Stream::WebSocket, &plan.path)).collect()
}

/// Answers a ping.
fn answer_ping(session: &mut Session, index: usize, payload: &[u8]) -> Result<(), Failure> {
    session.meter.pinged();
    session.send(index, &websocket::masked(PONG, payload))
}

/// The error for something on connection `index` that must not happen.
fn broken(index: usize, why: String) -> Failure {
    Failure::Broken(format!("connection {index}: {why}"))
}
