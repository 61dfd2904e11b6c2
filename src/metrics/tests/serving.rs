//! Both drivers serve real sockets in the same way.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, Timespec, poll};

use super::super::connection::{Connection, Next};
use super::super::{CONNECTIONS, Figures, Sockets, Source, serve};
use super::figures;
use crate::base::timers::Timers;

const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A server on a thread, which ends with this.
struct Served {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Both of them.
fn served() -> [Served; 2] {
    [run_sockets, run_task].map(|run: fn(TcpListener, &AtomicBool)| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let thread = Some(thread::spawn({
            let ended = Arc::clone(&ended);
            move || run(listener, &ended)
        }));
        Served { address, ended, thread }
    })
}

fn source() -> Source {
    Arc::new(figures)
}

fn run_sockets(listener: TcpListener, ended: &AtomicBool) {
    let mut sockets = Sockets::new(vec![listener.into()], source()).unwrap();
    while !ended.load(Ordering::Acquire) {
        let mut waiting = Vec::new();
        sockets.add_to(&mut waiting, Instant::now());
        poll(&mut waiting, Some(&Timespec { tv_sec: 0, tv_nsec: 10_000_000 })).unwrap();
        let events: Vec<_> = waiting.iter().map(PollFd::revents).collect();
        sockets.turn(&events, Instant::now());
    }
}

fn run_task(listener: TcpListener, ended: &AtomicBool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let timers = Arc::<Timers>::default();
        tokio::spawn(Arc::clone(&timers).run().unwrap());
        serve(vec![listener.into()], &source(), &timers).unwrap();
        while !ended.load(Ordering::Acquire) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}

fn connect(served: &Served) -> TcpStream {
    let socket = TcpStream::connect(served.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

fn read_all(mut socket: &TcpStream) -> String {
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_request_is_answered_and_the_connection_ends() {
    for served in served() {
        let mut whole = connect(&served);
        whole.write_all(REQUEST).unwrap();
        let text = read_all(&whole);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("\npush_server_requests_total 100\n"));
        let mut pieces = connect(&served);
        for byte in REQUEST {
            pieces.write_all(&[*byte]).unwrap();
        }
        assert!(read_all(&pieces).starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

#[test]
fn a_client_that_sends_more_than_its_request_gets_the_whole_response() {
    for served in served() {
        let mut socket = connect(&served);
        socket.write_all(&[REQUEST, &[b'x'; 20_000]].concat()).unwrap();
        assert!(read_all(&socket).contains("\npush_server_requests_total 100\n"));
    }
}

#[test]
fn clients_that_go_away_or_say_nothing_hold_nobody_up() {
    for served in served() {
        let _silent = connect(&served);
        connect(&served).write_all(b"GET /met").unwrap();
        connect(&served).write_all(REQUEST).unwrap();
        connect(&served).shutdown(Shutdown::Both).unwrap();
        let half = connect(&served);
        half.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&half), "");
        let mut socket = connect(&served);
        socket.write_all(REQUEST).unwrap();
        assert!(read_all(&socket).starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

#[test]
fn more_connections_than_there_may_be_wait() {
    for served in served() {
        let silent: Vec<_> = (0..CONNECTIONS).map(|_| connect(&served)).collect();
        let mut late = connect(&served);
        late.write_all(REQUEST).unwrap();
        late.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert_eq!(late.read(&mut [0; 10]).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(silent);
        late.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert!(read_all(&late).starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

fn never() -> Option<Figures> {
    unreachable!("it asks for nothing")
}

#[test]
fn a_connection_ends_when_its_time_is_over() {
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let mut silent = Connection::new(start);
    silent.receive(b"GET ", after(4), never);
    assert_eq!([silent.next(after(4)), silent.next(after(5))], [Next::Read, Next::Nothing]);

    let mut slow = Connection::new(start);
    slow.receive(REQUEST, after(4), figures);
    assert_eq!([slow.next(after(8)), slow.next(after(9))], [Next::Write, Next::Nothing]);
    let length = slow.output().len();
    assert!(!slow.sent(1, after(8)));
    assert_eq!(slow.output().len(), length - 1);
    assert!(slow.sent(length - 1, after(8)));
    // The client has not read it all.
    slow.receive(b"more", after(8), never);
    assert_eq!([slow.next(after(8)), slow.next(after(9))], [Next::Read, Next::Nothing]);
    slow.receive(b"", after(8), never);
    assert_eq!(slow.next(after(8)), Next::Nothing);
}

#[test]
fn a_client_that_sends_for_ever_is_cut_off() {
    let now = Instant::now();
    let mut connection = Connection::new(now);
    connection.receive(REQUEST, now, figures);
    let length = connection.output().len();
    connection.sent(length, now);
    for _ in 0..20 {
        connection.receive(&[0; 4096], now, never);
    }
    assert_eq!(connection.next(now), Next::Nothing);
}

#[test]
fn a_server_that_ends_answers_those_that_have_asked_and_waits_for_no_others() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let connect = || TcpStream::connect(address).unwrap();
    let mut sockets = Sockets::new(vec![listener.try_clone().unwrap().into()], source()).unwrap();
    let turn = |sockets: &mut Sockets| {
        let mut waiting = Vec::new();
        sockets.add_to(&mut waiting, Instant::now());
        poll(&mut waiting, Some(&Timespec { tv_sec: 5, tv_nsec: 0 })).unwrap();
        let events: Vec<_> = waiting.iter().map(PollFd::revents).collect();
        sockets.turn(&events, Instant::now());
    };
    let (silent, mut begun) = (connect(), connect());
    begun.write_all(&REQUEST[..9]).unwrap();
    // Both are accepted, and the beginning of the request is read.
    (0..2).for_each(|_| turn(&mut sockets));
    thread::scope(|scope| {
        scope.spawn(|| {
            begun.write_all(&REQUEST[9..]).unwrap();
            assert!(read_all(&begun).starts_with("HTTP/1.1 200 OK\r\n"));
        });
        // The rest of a request may take a while, and nobody waits for one that does not come.
        sockets.finish(Instant::now() + Duration::from_secs(20));
    });
    drop(sockets);
    assert_eq!(read_all(&silent), "");
    // Who comes later waits for the next server.
    let late = connect();
    assert!(listener.accept().is_ok());
    drop(late);
}
