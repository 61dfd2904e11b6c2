//! A load generator for web servers on the same machine: one thread, one epoll, every answer checked byte for byte.
//!
//! | module | subject |
//! |---|---|
//! | `plan` | the command line |
//! | `loads` | what is sent, and what the server must answer; each kind of load has a file |
//! | `session` | the loop that moves bytes and keeps time |
//! | `meter`, `histogram`, `process` | what is measured: operations, latency, the server's CPU and memory |
//! | `report` | the line of JSON that is printed |
//! | `net` | sockets of the loopback interface, epoll |
//! | `protocol` | as much of HTTP, WebSocket and Server-Sent Events as a client needs |
//! | `ring` | numbered messages, made before the clock starts |
//!
//! The loop allocates nothing, and only the sockets copy bytes: when this program's own core is busy, it cannot measure a
//! faster server. The report says how busy the core was.

mod failure;
mod histogram;
mod loads;
mod meter;
mod net;
mod plan;
mod process;
mod protocol;
mod report;
mod ring;
mod session;

use std::process::ExitCode;

use failure::Failure;
use plan::HELP;

fn main() -> ExitCode {
    let plan = match plan::parse(std::env::args().skip(1)) {
        Ok(Some(plan)) => plan,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(misunderstood) => {
            eprintln!("load: {misunderstood}: load --help says more");
            return ExitCode::from(2);
        }
    };
    match loads::run(&plan) {
        Ok(report) => {
            println!("{}", report.json());
            ExitCode::SUCCESS
        }
        Err(Failure::Broken(why)) => {
            eprintln!("load: {why}");
            ExitCode::FAILURE
        }
        Err(Failure::Unsupported(why)) => {
            eprintln!("load: {why}");
            ExitCode::from(3)
        }
    }
}
