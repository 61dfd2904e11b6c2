//! The listeners of a server. They are added and retired at any time.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::accept::{Acceptor, Retirement};
use super::listener::{ListenError, Listener, ListenerId, Listening};
use super::tls::{Config, CurrentConfig};
use crate::base::lock::Lock;

/// The listeners of a server. Any thread.
#[derive(Default)]
pub struct Listeners(Lock<State>);

#[derive(Default)]
struct State {
    /// How many there have been.
    count: u64,
    /// Those that were added before the start.
    waiting: Vec<(ListenerId, Listening)>,
    /// What those need that accept encrypted connections.
    tls: HashMap<ListenerId, Arc<CurrentConfig>>,
    /// Those that connections are accepted from.
    open: HashMap<ListenerId, oneshot::Sender<Retirement>>,
    /// Set between the start and the end.
    accepting: Option<(Handle, Arc<Acceptor>)>,
}

impl Listeners {
    /// Adds a socket that listens. Connections are accepted from it at once, or from the start on. With `tls` they are encrypted.
    pub fn listen(&self, socket: OwnedFd, tls: Option<Config>) -> Result<ListenerId, ListenError> {
        let listening = Listening::try_from(socket)?;
        let mut state = self.0.lock();
        let id = ListenerId(state.count);
        if let Some(config) = tls {
            state.tls.insert(id, Arc::new(CurrentConfig::new(config)));
        }
        match state.accepting.clone() {
            None => state.waiting.push((id, listening)),
            Some((runtime, acceptor)) => state.open(id, listening, &runtime, acceptor)?,
        }
        state.count += 1;
        Ok(id)
    }

    /// Replaces what a listener needs for TLS. Connections that are open keep what they began with. Returns false if there is no
    /// such listener, or if it accepts no encrypted connections.
    pub fn renew(&self, id: ListenerId, config: Config) -> bool {
        self.0.lock().tls.get(&id).inspect(|current| current.replace(config)).is_some()
    }

    /// Accepts from all listeners. Inside the runtime, once.
    pub fn start(&self, acceptor: Acceptor) -> io::Result<()> {
        let mut state = self.0.lock();
        let (runtime, acceptor) = (Handle::current(), Arc::new(acceptor));
        for (id, listening) in std::mem::take(&mut state.waiting) {
            state.open(id, listening, &runtime, Arc::clone(&acceptor))?;
        }
        state.accepting = Some((runtime, acceptor));
        Ok(())
    }

    /// Accepts no connections any more from the listener, and closes its socket. Connections that clients have made
    /// already are served, also those in the backlog, unless there are more than `max_connections`. Returns false if
    /// there is no such listener.
    ///
    /// Blocks for a turn of the reactor; when it returns, the descriptor is closed. A task of the reactor must not call
    /// it.
    pub fn retire(&self, id: ListenerId) -> bool {
        let mut state = self.0.lock();
        if let Some(at) = state.waiting.iter().position(|(waiting, _)| *waiting == id) {
            state.waiting.remove(at);
            state.tls.remove(&id);
            return true;
        }
        let Some(retire) = state.open.remove(&id) else { return false };
        state.tls.remove(&id);
        drop(state);
        let (retirement, closed) = crossbeam_channel::bounded(0);
        // If this fails, the accept loop has ended with the server, and the listener is closed.
        if retire.send(retirement).is_ok() {
            // Nothing is ever sent. This returns when the other side is dropped.
            let _ = closed.recv();
        }
        true
    }

    /// Retires all listeners. Blocks as [`Listeners::retire`] does.
    pub fn retire_all(&self) {
        let ids: Vec<_> = {
            let state = self.0.lock();
            state.waiting.iter().map(|(id, _)| *id).chain(state.open.keys().copied()).collect()
        };
        for id in ids {
            self.retire(id);
        }
    }

    /// The runtime has ended, and all listeners with it.
    pub fn stop(&self) {
        // The handle keeps parts of the runtime, such as the descriptor of epoll.
        let mut state = self.0.lock();
        *state = State { count: state.count, ..State::default() };
    }
}

impl State {
    fn open(
        &mut self,
        id: ListenerId,
        listening: Listening,
        runtime: &Handle,
        acceptor: Arc<Acceptor>,
    ) -> io::Result<()> {
        let _inside = runtime.enter();
        let listener = Listener::register(listening)?;
        let (retire, retired) = oneshot::channel();
        runtime.spawn(acceptor.run(listener, id, self.tls.get(&id).cloned(), retired));
        self.open.insert(id, retire);
        Ok(())
    }
}
