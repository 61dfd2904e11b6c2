//! The loop that moves bytes and keeps time.

use std::io;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::meter::{Meter, Stage};
use crate::net::connect::{Connection, Opener, Target};
use crate::net::epoll::{Epoll, Events};
use crate::net::wire::{Reading, Wire};
use crate::process::{self, ProcessTree};

/// How many bytes are read at once.
const BUFFER: usize = 256 * 1024;

/// How long the last answer may take after the measured window. With one thread, Puma waits 0.2 s on each of 64 connections
/// for another request.
const DRAIN: Duration = Duration::from_secs(20);

/// How long a number of operations may take: a server may run fifty times as slowly if it is watched.
const LONGEST: Duration = Duration::from_secs(900);

/// The line that is printed for each pause.
const PAUSE: &str = "pause";

/// What is sent, and what must come back.
pub trait Load {
    /// Sends what sets it going.
    fn start(&mut self, session: &mut Session) -> Result<(), Failure>;

    /// Looks at what has come on connection `index`. Returns the length of all whole messages; the rest comes again,
    /// with more behind it.
    fn receive(&mut self, index: usize, bytes: &[u8], session: &mut Session) -> Result<usize, Failure>;

    /// What is to be done now, and when (ns) there is more to do. For loads that depend on time; called all the time.
    fn tick(&mut self, _session: &mut Session) -> Result<Option<u64>, Failure> {
        Ok(None)
    }

    /// How many answers are still to come.
    fn outstanding(&self) -> usize;
}

/// When what happens, from the start of the load.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// How long the load runs before anything is counted.
    pub warm_up: Duration,
    /// How long the measured window is.
    pub measured: Duration,
    /// So many operations warm the server up and so many are measured, instead of these times. The load pauses before, between
    /// and after them, with no answer on its way, until a line comes on the standard input.
    pub operations: Option<u64>,
}

/// What the measured window showed beside what the [`Meter`] counted.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Its length, in ns.
    pub length: u64,
    /// CPU time that the server used, in ns.
    pub server_cpu: Option<u64>,
    /// CPU time that this program used, in ns.
    pub load_cpu: u64,
    /// The server's memory at its end, in bytes.
    pub memory: Option<u64>,
}

impl Window {
    /// How busy the server was, in percent of one core.
    pub fn server_cpu_percent(&self) -> Option<f64> {
        self.server_cpu.map(|time| 100.0 * time as f64 / self.length as f64)
    }
}

/// The connections under load, and what is measured of them.
#[derive(Debug)]
pub struct Session {
    /// What is counted.
    pub meter: Meter,
    /// The time, in ns since the start: that of the last read, or of the last wait.
    pub now: u64,
    target: Target,
    start: Instant,
    epoll: Epoll,
    wires: Vec<Wire>,
}

impl Session {
    /// Takes over connections to a target; their indices are those in the vector.
    pub fn new(target: Target, connections: Vec<Connection>) -> Result<Self, Failure> {
        let build = || {
            let epoll = Epoll::new()?;
            let wires = connections.into_iter().map(Wire::new).collect::<io::Result<Vec<_>>>()?;
            for (index, wire) in wires.iter().enumerate() {
                epoll.add(wire.socket(), index)?;
            }
            Ok(Session { meter: Meter::new(), now: 0, target, start: Instant::now(), epoll, wires })
        };
        build().map_err(|error| Failure::system("watching the connections", &error))
    }

    /// Sends `bytes` on connection `index`, now or as soon as there is room.
    pub fn send(&mut self, index: usize, bytes: &[u8]) -> Result<(), Failure> {
        self.wires[index]
            .send(bytes)
            .map_err(|error| Failure::system(&format!("sending on connection {index}"), &error))
    }

    /// Puts a new connection in the place of one that the server is about to close. This waits, but hardly: on the
    /// loopback interface a connection is open at once, unless the server has many more to accept.
    pub fn reopen(&mut self, index: usize) -> Result<(), Failure> {
        let watch = |connection| {
            let wire = Wire::new(connection)?;
            self.epoll.add(wire.socket(), index)?;
            Ok(wire)
        };
        let wire = watch(Opener::new(self.target).open()?);
        self.wires[index] = wire.map_err(|error| Failure::system("watching a connection", &error))?;
        self.meter.reopened();
        Ok(())
    }

    /// Runs a load to its end.
    pub fn run(
        &mut self,
        load: &mut impl Load,
        schedule: Schedule,
        server: Option<ProcessTree>,
    ) -> Result<Window, Failure> {
        self.start = Instant::now();
        if let Some(operations) = schedule.operations {
            return self.run_operations(load, operations, server);
        }
        self.now = 0;
        self.meter.stage = Stage::WarmUp;
        load.start(self)?;
        self.turn(load, nanoseconds(schedule.warm_up))?;

        let before = Reckoning::now(server);
        let begin = self.clock();
        self.meter.stage = Stage::Measuring;
        self.turn(load, begin + nanoseconds(schedule.measured))?;

        self.meter.stage = Stage::Draining;
        let window = before.window(server, self.clock() - begin);
        self.drain(load, DRAIN)?;
        Ok(window)
    }

    fn run_operations(
        &mut self,
        load: &mut impl Load,
        operations: u64,
        server: Option<ProcessTree>,
    ) -> Result<Window, Failure> {
        pause()?;
        self.run_stage(load, Stage::WarmUp, operations)?;
        pause()?;
        let before = Reckoning::now(server);
        let begin = self.clock();
        self.run_stage(load, Stage::Measuring, operations)?;
        let window = before.window(server, self.clock() - begin);
        pause()?;
        Ok(window)
    }

    /// Lets it run until all operations of a stage have ended.
    fn run_stage(&mut self, load: &mut impl Load, stage: Stage, operations: u64) -> Result<(), Failure> {
        self.meter.begin(stage, operations);
        self.now = self.clock();
        load.start(self)?;
        self.drain(load, LONGEST)
    }

    /// Lets it run until `end` (ns).
    fn turn(&mut self, load: &mut impl Load, end: u64) -> Result<(), Failure> {
        let mut room = Room::new();
        self.now = self.clock();
        while self.now < end {
            self.step(load, &mut room, end)?;
        }
        Ok(())
    }

    /// Waits until no answer is still to come, for at most this time.
    fn drain(&mut self, load: &mut impl Load, longest: Duration) -> Result<(), Failure> {
        let mut room = Room::new();
        self.now = self.clock();
        let end = self.now + nanoseconds(longest);
        while load.outstanding() > 0 {
            if self.now >= end {
                let outstanding = load.outstanding();
                return Err(Failure::Broken(format!("{outstanding} answers did not come within {longest:?}")));
            }
            self.step(load, &mut room, end)?;
        }
        Ok(())
    }

    /// Does what is to be done, waits for events, and handles them.
    fn step(&mut self, load: &mut impl Load, room: &mut Room, end: u64) -> Result<(), Failure> {
        let wake = load.tick(self)?.map_or(end, |wake| wake.min(end));
        // Rounded down: the last millisecond is spent asking again and again, so that nothing is sent late.
        let milliseconds = wake.saturating_sub(self.clock()) / 1_000_000;
        let waited = self.epoll.wait(&mut room.events, milliseconds.min(1000) as i32);
        waited.map_err(|error| Failure::system("waiting for sockets", &error))?;
        self.now = self.clock();
        for event in room.events.iter() {
            if event.writable {
                let flushed = self.wires[event.index].flush();
                flushed.map_err(|error| Failure::system(&format!("sending on connection {}", event.index), &error))?;
            }
            if event.readable {
                self.read(load, event.index, &mut room.buffer)?;
            }
        }
        Ok(())
    }

    fn read(&mut self, load: &mut impl Load, index: usize, buffer: &mut [u8]) -> Result<(), Failure> {
        loop {
            let reading = self.wires[index].read(buffer);
            match reading.map_err(|error| Failure::system(&format!("reading from connection {index}"), &error))? {
                // A TLS handshake may have ended.
                Reading::Nothing if self.wires[index].waits() => {
                    let flushed = self.wires[index].flush();
                    return flushed.map_err(|error| Failure::system(&format!("sending on connection {index}"), &error));
                }
                Reading::Nothing => return Ok(()),
                Reading::End => return Err(Failure::Broken(format!("the server closed connection {index}"))),
                Reading::Bytes(count, more) => {
                    self.now = self.clock();
                    let used = load.receive(index, &buffer[..count], self)?;
                    self.meter.came(used);
                    self.wires[index].keep(&buffer[used..count]);
                    if !more {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn clock(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }
}

/// Says that the load pauses, and waits until a line comes. Whoever counts what the server does begins and ends meanwhile.
fn pause() -> Result<(), Failure> {
    println!("{PAUSE}");
    let came = io::stdin().read_line(&mut String::new());
    came.map_err(|error| Failure::system("waiting for a line on the standard input", &error))?;
    Ok(())
}

/// What a turn of the loop needs room for.
struct Room {
    events: Events,
    buffer: Vec<u8>,
}

impl Room {
    fn new() -> Self {
        Room { events: Events::new(), buffer: vec![0; BUFFER] }
    }
}

/// CPU time at one moment, in ns.
#[derive(Debug, Clone, Copy)]
pub struct Reckoning {
    server: Option<u64>,
    load: u64,
}

impl Reckoning {
    /// That of this moment.
    pub fn now(server: Option<ProcessTree>) -> Self {
        Reckoning { server: server.map(ProcessTree::cpu), load: process::own_cpu() }
    }

    /// What a window of this `length` (ns) showed that began with it and ends now.
    pub fn window(self, server: Option<ProcessTree>, length: u64) -> Window {
        let after = Reckoning::now(server);
        Window {
            length,
            server_cpu: after.server.zip(self.server).map(|(after, before)| after.saturating_sub(before)),
            load_cpu: after.load - self.load,
            memory: server.map(ProcessTree::memory),
        }
    }
}

/// A duration in ns.
pub fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}
