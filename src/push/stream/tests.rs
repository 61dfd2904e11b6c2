//! Streams over a pipe that holds back what was written, as TLS does.

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use rustix::net::sockopt;
use tokio::io::AsyncWrite;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use super::Stream;
use super::pipe::Pipe;
use crate::base;
use crate::base::limits::Limits;
use crate::channel::tests::delayed::DelayedEngine;
use crate::channel::{Draft, Receipt, Shape, Since, Subscription, Unpublished};
use crate::engine::Local;
use crate::net::{Peer, Socket};
use crate::push::delivery::Delivery;
use crate::push::fan_out::Writing;
use crate::push::{self, Callbacks, Client, CloseStatus, Event, EventInterest, Negotiated, Protocol, PubSub, Turn};

const DEADLINE: Duration = Duration::from_secs(20);

/// What is sent behind everything else, as close_notify is. More than the kernel takes at once.
static END: [u8; 20_000] = [b'z'; 20_000];

/// A pipe that takes as much as fits, and hands it on only when it is flushed.
pub(super) struct Buffering {
    pub(super) socket: Socket,
    held: BytesMut,
    room: usize,
    ended: bool,
}

impl AsyncWrite for Buffering {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.held.len() >= this.room {
            ready!(Pin::new(&mut *this).poll_flush(cx))?;
        }
        let taken = bytes.len().min(this.room - this.held.len());
        this.held.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while !this.held.is_empty() {
            let written = ready!(Pin::new(&mut this.socket).poll_write(cx, &this.held))?;
            this.held.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !std::mem::replace(&mut this.ended, true) {
            this.held.extend_from_slice(&END);
        }
        ready!(Pin::new(&mut *this).poll_flush(cx))?;
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}

/// A reactor that the test drives. Its app does nothing.
pub(super) struct Core {
    pub(super) runtime: Runtime,
    pub(super) context: Arc<push::Context>,
    spare: Vec<Waker>,
}

struct Idle;

impl Callbacks for Idle {
    fn ready(&self, client: Arc<Client>) {
        let turn = Turn::begin(client);
        while let Some(event) = turn.next_event() {
            if matches!(event, Event::Close) {
                turn.client().retire();
            }
        }
    }
}

impl Core {
    pub(super) fn new(limits: Limits) -> Self {
        Core::over(limits, PubSub::new(Local::shared))
    }

    fn over(limits: Limits, pubsub: PubSub) -> Self {
        let context = Arc::new(push::Context::new(Arc::new(base::Context::new(limits)), Arc::new(Idle), pubsub));
        let timers = Arc::clone(&context.base.timers);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_unpark(move || timers.begin_turn())
            .build()
            .unwrap();
        {
            let _inside = runtime.enter();
            runtime.spawn(Arc::clone(&context.base.timers).run().unwrap());
        }
        runtime.spawn(Delivery::new(Arc::clone(&context)));
        runtime.spawn(Writing::new(Arc::clone(&context)));
        Core { runtime, context, spare: Vec::new() }
    }

    /// A WebSocket over a pipe that holds back at most `room` bytes, and its other end.
    fn open(&mut self, room: usize) -> (Arc<Client>, StdUnixStream) {
        let (ours, peer) = StdUnixStream::pair().unwrap();
        sockopt::set_socket_send_buffer_size(&ours, 4096).unwrap();
        ours.set_nonblocking(true).unwrap();
        peer.set_nonblocking(true).unwrap();
        let negotiated = Negotiated {
            protocol: Protocol::WebSocket,
            encoding: Shape::Raw.into(),
            deflate: None,
            since: Since::Now,
            polls: false,
        };
        let interest = EventInterest { message: false, drained: false, gap: false };
        let client = Client::new(Arc::clone(&self.context), negotiated, Peer::Unix, interest);
        let _inside = self.runtime.enter();
        let socket = Socket::Unix(UnixStream::from_std(ours).unwrap());
        let pipe = Pipe::Buffering(Buffering { socket, held: BytesMut::new(), room, ended: false });
        let head = Bytes::from_static(b"head");
        self.runtime.spawn(Stream::over(pipe, Arc::clone(&client), head, Bytes::new(), None, Box::new(())));
        (client, peer)
    }

    /// Drives until the root task has had so many turns: all others have had as many by then.
    pub(super) fn drive(&mut self, turns: usize) {
        let mut left = turns;
        self.drive_until("the last turn", || {
            left -= 1;
            (left == 0).then_some(())
        });
    }

    /// Drives until `done` has something.
    pub(super) fn drive_until<T>(&mut self, what: &str, mut done: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        let (context, spare) = (&self.context, &mut self.spare);
        let result = self.runtime.block_on(std::future::poll_fn(|cx| {
            context.base.timers.begin_turn();
            context.base.wakeups.attend(cx.waker(), spare);
            assert!(Instant::now() < deadline, "gave up waiting: {what}");
            // The reactor looks at sockets and clocks between two polls.
            cx.waker().wake_by_ref();
            done().map_or(Poll::Pending, Poll::Ready)
        }));
        context.base.wakeups.leave();
        result
    }

    /// Drives until the peer has got this many bytes more; returns them.
    fn receive(&mut self, mut peer: &StdUnixStream, length: usize) -> Vec<u8> {
        let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
        self.drive_until("bytes for the peer", || {
            let wanted = buffer.len().min(length - received.len());
            if let Ok(read) = peer.read(&mut buffer[..wanted]) {
                received.extend_from_slice(&buffer[..read]);
            }
            (received.len() == length).then(|| received.clone())
        })
    }

    /// Drives until the peer has read everything up to the end.
    fn receive_all(&mut self, mut peer: &StdUnixStream) -> Vec<u8> {
        let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
        self.drive_until("the end for the peer", || match peer.read(&mut buffer) {
            Ok(0) => Some(received.clone()),
            Ok(read) => {
                received.extend_from_slice(&buffer[..read]);
                None
            }
            Err(_) => None,
        })
    }
}

#[test]
fn what_the_pipe_holds_back_is_flushed() {
    let mut core = Core::new(Limits::default());
    let (client, peer) = core.open(usize::MAX);
    assert_eq!(core.receive(&peer, 4), b"head");
    for _ in 0..3 {
        assert!(client.write_message(true, b"message"));
        assert_eq!(&core.receive(&peer, 9)[2..], b"message");
    }
}

#[test]
fn a_write_is_pending_until_the_pipe_has_sent_it_on() {
    let mut core = Core::new(Limits::default());
    let (client, peer) = core.open(usize::MAX);
    core.receive(&peer, 4);
    let large = vec![b'a'; 60_000];
    assert!(client.write_message(true, &large));
    // The peer has got some of it: so the pipe has it all.
    core.receive(&peer, 100);
    assert_eq!(client.pending(), Some(1));
    core.receive(&peer, large.len() + 4 - 100);
    core.drive_until("nothing pending", || (client.pending() == Some(0)).then_some(()));
}

#[test]
fn the_end_is_sent_behind_what_the_pipe_holds_back() {
    let mut core = Core::new(Limits::default());
    let (client, peer) = core.open(usize::MAX);
    core.receive(&peer, 4);
    let large = vec![b'a'; 20_000];
    assert!(client.write_message(true, &large));
    client.close(CloseStatus::new(1000, ""));
    let masked_close = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
    io::Write::write_all(&mut &peer, &masked_close).unwrap();
    let received = core.receive_all(&peer);
    assert!(received[large.len() + 4..] == [&[0x88, 2, 0x03, 0xe8], &END[..]].concat());
}

#[test]
fn a_close_frame_is_answered_although_the_end_of_the_input_came_with_it() {
    let mut core = Core::new(Limits::default());
    let (client, peer) = core.open(usize::MAX);
    core.receive(&peer, 4);
    // As Chromium does it over HTTP/2.
    let masked_close = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
    io::Write::write_all(&mut &peer, &masked_close).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    assert!(core.receive_all(&peer) == [&[0x88, 2, 0x03, 0xe8], &END[..]].concat());
    assert_eq!(client.close_status().unwrap().code, 1000);
}

/// A violation, a Close frame, or a message, by a peer that has gone when the next message is written.
#[test]
fn what_came_before_a_write_failed_is_read_before_the_stream_ends() {
    let too_large = [0x82, 0xff, 0, 0, 0, 0, 0x7f, 0, 0, 0, 0, 0, 0, 0];
    let close = [0x88, 0x82, 0, 0, 0, 0, 0x0b, 0xb8];
    let message = [0x81, 0x81, 0, 0, 0, 0, b'x'];
    for room in [1, usize::MAX] {
        for (bytes, code) in [(&too_large[..], 1009), (&close[..], 3000), (&message[..], 1006)] {
            let mut core = Core::new(Limits::default());
            let (client, peer) = core.open(room);
            core.receive(&peer, 4);
            // The reactor has not looked at the socket since, so the stream writes before it reads.
            io::Write::write_all(&mut &peer, bytes).unwrap();
            drop(peer);
            assert!(client.write_message(true, b"message"));
            core.drive_until("the end", || client.close_status());
            assert_eq!(client.close_status().unwrap().code, code);
            assert_eq!(core.context.base.stats.messages_in.get(), u64::from(code == 1006));
        }
    }
}

#[test]
fn a_peer_that_reads_nothing_is_slow_however_much_the_pipe_would_take() {
    let mut core = Core::new(Limits { slow_timeout: Duration::from_millis(50), slow_bytes: 1000, ..Limits::default() });
    let (client, _peer) = core.open(usize::MAX);
    // Each would be taken at once by a pipe without bounds.
    core.drive_until("the end of the slow client", || {
        client.write_message(true, &[b'a'; 1000]);
        client.close_status()
    });
    assert_eq!(client.close_status().unwrap().code, 1013);
}

/// A client with a channel, and a message that the engine has not numbered.
fn publish_over_an_engine(limits: Limits) -> (Core, Arc<DelayedEngine>, Arc<Client>, StdUnixStream, Receipt) {
    let mut engine = None;
    let pubsub = PubSub::new(|wake| Arc::clone(engine.insert(DelayedEngine::new(1, wake))) as _);
    let mut core = Core::over(limits, pubsub.clone());
    let (client, peer) = core.open(usize::MAX);
    core.receive(&peer, 4);
    client.subscribe(Subscription::to("c")).unwrap();
    client.begin_replay();
    let receipt = pubsub.channels().publish(&Draft::text("c", b"last"), Instant::now()).unwrap();
    assert!(receipt.cursor().is_none());
    (core, engine.unwrap(), client, peer, receipt)
}

#[test]
fn a_close_waits_for_what_was_published_before_it() {
    let (mut core, engine, client, peer, _) = publish_over_an_engine(Limits::default());
    client.close(CloseStatus::new(1000, ""));
    // The stream has seen the close by the time that the next client is open.
    let (_other, other) = core.open(usize::MAX);
    core.receive(&other, 4);
    engine.order(1);
    assert_eq!(core.receive(&peer, 10), b"\x81\x04last\x88\x02\x03\xe8");
}

#[test]
fn a_close_waits_no_longer_than_for_the_close_timeout() {
    let limits = Limits { close_timeout: Duration::from_millis(50), ..Limits::default() };
    let (mut core, _engine, client, peer, receipt) = publish_over_an_engine(limits);
    client.close(CloseStatus::new(1000, ""));
    assert_eq!(core.receive(&peer, 4), b"\x88\x02\x03\xe8");
    assert!(receipt.outcome().is_none());
}

#[test]
fn a_close_does_not_wait_for_what_the_engine_has_lost() {
    let (mut core, engine, client, peer, receipt) = publish_over_an_engine(Limits::default());
    client.close(CloseStatus::new(1000, ""));
    engine.reset(false, 0, Vec::new(), Vec::new());
    assert_eq!(core.receive(&peer, 4), b"\x88\x02\x03\xe8");
    assert_eq!(receipt.outcome(), Some(Err(Unpublished::Lost)));
}
