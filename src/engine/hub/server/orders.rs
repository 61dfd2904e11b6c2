//! What the supervisor tells the hub, as lines of words.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use super::settings::Start;
use crate::base::lines::Line;

/// What the supervisor tells the hub.
#[derive(Debug)]
pub(super) enum Order {
    /// `first`, or `recover processes=3,4 [handover]`: how the hub begins. With `handover` comes a connection on which the hub
    /// before sends its log.
    Start(Start, Option<OwnedFd>),
    /// `worker 3 1`: a connection of the worker with the process number 3, of the first generation. `None`: this process has
    /// too many open files to get it.
    Worker(u32, Option<OwnedFd>),
    /// `gone 3`, or `gone 3 drained`: that worker has ended; whether it had drained.
    Gone(u32, bool),
    /// `ping 7`: the hub answers `pong 7`.
    Ping(String),
    /// `handover`: the hub sends its log over this connection, and ends.
    HandOver(OwnedFd),
    /// `stop`: the hub ends when workers have what they take.
    Stop,
}

impl Order {
    /// The order of a line. `None`: there is no such order, or its descriptor is missing.
    pub(super) fn parse(line: Line) -> Option<Order> {
        let mut descriptor = line.descriptors.into_iter().next();
        let mut words = line.text.split_whitespace();
        Some(match words.next()? {
            "first" => Order::Start(Start::First, None),
            "recover" => {
                let (mut processes, mut handover) = (BTreeSet::new(), false);
                for word in words {
                    match word.split_once('=') {
                        Some(("processes", list)) => {
                            processes = list.split(',').filter_map(|number| number.parse().ok()).collect();
                        }
                        None if word == "handover" => handover = true,
                        // Words of a supervisor that knows more.
                        _ => {}
                    }
                }
                let old = descriptor.filter(|_| handover);
                Order::Start(Start::Recover { processes, handover: old.is_some() }, old)
            }
            "worker" => Order::Worker(words.next()?.parse().ok()?, descriptor.take()),
            "gone" => Order::Gone(words.next()?.parse().ok()?, words.next() == Some("drained")),
            "ping" => Order::Ping(words.next()?.to_owned()),
            "handover" => Order::HandOver(descriptor.take()?),
            "stop" => Order::Stop,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, descriptors: usize) -> String {
        let descriptors = (0..descriptors).map(|_| tempfile::tempfile().unwrap().into()).collect();
        let line = Line { text: text.to_owned(), descriptors, lost_descriptors: false };
        let parsed = format!("{:?}", Order::parse(line));
        // The numbers of descriptors do not matter.
        parsed.split("OwnedFd").next().unwrap().to_owned()
    }

    #[test]
    fn words_and_descriptors() {
        assert_eq!(parse("first", 0), "Some(Start(First, None))");
        let recover = |handover| format!("Some(Start(Recover {{ processes: {{3, 4}}, handover: {handover} }}, ");
        assert_eq!(parse("recover lost=0 processes=3,4", 0), recover(false) + "None))");
        assert_eq!(parse("recover processes=3,4 handover", 1), recover(true) + "Some(");
        // Without a connection there is nothing to wait for.
        assert_eq!(parse("recover processes=3,4 handover", 0), recover(false) + "None))");
        assert_eq!(parse("recover processes=", 0), "Some(Start(Recover { processes: {}, handover: false }, None))");
        assert_eq!(parse("worker 3 1", 1), "Some(Worker(3, Some(");
        assert_eq!(parse("worker 3 1", 0), "Some(Worker(3, None))");
        assert_eq!(parse("gone 3", 0), "Some(Gone(3, false))");
        assert_eq!(parse("gone 3 drained", 0), "Some(Gone(3, true))");
        assert_eq!(parse("ping 7", 0), "Some(Ping(\"7\"))");
        assert_eq!(parse("handover", 1), "Some(HandOver(");
        assert_eq!(parse("stop", 0), "Some(Stop)");
        for text in ["", "worker", "worker x 1", "gone", "handover", "stay"] {
            assert_eq!(parse(text, 0), "None", "{text}");
        }
    }
}
