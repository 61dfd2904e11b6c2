//! WebSockets or event streams that say nothing, but answer pings.

use super::shared::{self, Shared};
use super::{answer_ping, broken, web_sockets};
use crate::failure::Failure;
use crate::net::connect::Opener;
use crate::plan::Plan;
use crate::process::ProcessTree;
use crate::protocol::stream::{Incoming, Stream};
use crate::report::Report;
use crate::session::{Load, Session};

/// A load that sends nothing but pongs. An answered ping is an operation.
#[derive(Debug)]
struct Idle {
    /// If streams share connections.
    shared: Option<Shared>,
}

/// Opens the connections and watches them. The growth of the server's memory is read at the end of the window: by then the
/// server may have given back what it needed for the handshakes only.
pub fn run(plan: &Plan) -> Result<Report, Failure> {
    let server = plan.pid.map(ProcessTree::new);
    let before = server.map(ProcessTree::memory);
    let shared = plan.streams.map(|streams| Shared::new(plan.connections, streams));
    let count = shared.as_ref().map_or(plan.connections, Shared::count);
    let connections = match plan.streams {
        None => web_sockets(plan)?,
        Some(streams) => {
            let opener = Opener::new(plan.target());
            let opened = (0..plan.connections).map(|_| shared::open(opener, &plan.path, streams, None));
            opened.collect::<Result<_, _>>()?
        }
    };
    let mut session = Session::new(plan.target(), connections)?;
    let window = session.run(&mut Idle { shared }, plan.schedule, server)?;
    let growth = window.memory.zip(before).map(|(after, before)| after as f64 - before as f64);
    let mut report = Report::new(count, &session.meter, &window);
    let share = |value: f64| value / count as f64;
    report.add("server_cpu_percent_per_10000", window.server_cpu_percent().map(|percent| 10_000.0 * share(percent)));
    report.add("memory_per_connection_bytes", growth.map(share));
    Ok(report)
}

impl Load for Idle {
    fn start(&mut self, _session: &mut Session) -> Result<(), Failure> {
        Ok(())
    }

    fn receive(&mut self, index: usize, bytes: &[u8], session: &mut Session) -> Result<usize, Failure> {
        if let Some(shared) = &mut self.shared {
            return shared.listen((index, index), bytes, session, |stream, _, _| {
                Err(broken(stream, "an event came although none was sent".into()))
            });
        }
        let mut used = 0;
        while let Some((incoming, length)) = Stream::WebSocket.next(&bytes[used..]).map_err(|why| broken(index, why))? {
            used += length;
            match incoming {
                Incoming::Message(_) => return Err(broken(index, "a message came although none was sent".into())),
                Incoming::Ping(payload) => {
                    answer_ping(session, index, payload)?;
                    session.meter.done_untimed();
                }
                Incoming::Pong => {}
                Incoming::Compressed(_) => {
                    return Err(broken(index, "a compressed message came, which was not agreed on".into()));
                }
            }
        }
        Ok(used)
    }

    fn outstanding(&self) -> usize {
        0
    }
}
