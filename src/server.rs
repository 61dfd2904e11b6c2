//! The front door: listeners in, jobs out, drain and stop.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use thiserror::Error;

use crate::access_log::{self, AccessLog};
use crate::base;
use crate::base::disk::Disk;
use crate::base::in_flight::Drained;
use crate::base::lifecycle::Phase;
use crate::base::limits::Limits;
use crate::base::stats::Stats;
use crate::channel;
use crate::http::budget::Budget;
use crate::http::origin::{Allowed, BadOrigin};
use crate::http::{self, connection, files::PublicDir};
use crate::net::{Acceptor, ListenError, ListenerId, Listeners, fds};
use crate::push::delivery::Delivery;
use crate::push::pressure::Relief;
use crate::push::{self, PubSub, SlowPolicy};
use crate::reactor::{Job, Next, Reactor, Scheduler, Worker};

/// How long clients that are cut at the end of a drain have for their Close frame to leave.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How a server is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bounds and timeouts.
    pub limits: Limits,
    /// What becomes of slow clients.
    pub slow_policy: SlowPolicy,
    /// Pages that may open a WebSocket beside the server's own: URLs, or `*`.
    pub allowed_origins: Vec<String>,
    /// A directory whose files are served before the app is asked.
    pub public_dir: Option<PathBuf>,
    /// The name of events that were given none, free of CR, LF and NUL; `None` is nameless.
    pub default_event: Option<String>,
    /// The parameter of a query that makes an event stream a long poll; `None`: there are none.
    pub poll_parameter: Option<String>,
    /// How requests are logged, if they are.
    pub access_log: Option<access_log::Settings>,
}

/// A setting that cannot work.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// See [`BadOrigin`].
    #[error(transparent)]
    Origin(#[from] BadOrigin),
    /// The access log cannot be written.
    #[error("cannot open the access log {place}: {error}")]
    AccessLog {
        /// The file.
        place: String,
        /// Why not.
        error: io::Error,
    },
    /// The public directory cannot be used.
    #[error("public directory {path}: {error}")]
    PublicDir {
        /// As given.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

/// A server: made, given listeners, started, drained, stopped. All methods from any thread.
pub struct Server {
    reactor: Reactor,
    http: Arc<http::Context>,
    base: Arc<base::Context>,
    listeners: Listeners,
}

impl Server {
    /// A server that does not run yet, for the channels of its process.
    pub fn new(settings: Settings, pubsub: PubSub) -> Result<Self, SettingsError> {
        let allowed = settings.allowed_origins.iter().map(String::as_str);
        let origins = Allowed::parse(allowed)?;
        let open = |path: PathBuf| PublicDir::open(&path).map_err(|error| SettingsError::PublicDir { path, error });
        let files = settings.public_dir.map(open).transpose()?;
        let base = Arc::new(base::Context::new(settings.limits));
        let access_log = settings.access_log.map(|it| open_access_log(it, &base.stats)).transpose()?;
        let scheduler = Arc::new(Scheduler::new(Arc::clone(&base)));
        pubsub.channels().configure(channel::Limits::from(&base.limits), settings.default_event.as_deref());
        let callbacks = Arc::clone(&scheduler) as Arc<dyn push::Callbacks>;
        let push = Arc::new(push::Context {
            pubsub,
            slow_policy: settings.slow_policy,
            ..push::Context::new(Arc::clone(&base), callbacks)
        });
        let http = Arc::new(http::Context {
            push,
            dispatch: Arc::clone(&scheduler) as Arc<dyn http::Dispatch>,
            access_log,
            origins,
            files,
            budget: Budget::of_folder(base.limits.max_spooled_total),
            poll_parameter: settings.poll_parameter,
            base: Arc::clone(&base),
        });
        Ok(Server { reactor: Reactor::new(scheduler, Arc::clone(&base)), http, base, listeners: Listeners::default() })
    }

    /// Adds a stream socket of IPv4, IPv6 or the Unix family that is bound and listens. Requests that come through it
    /// carry the id returned. Before [`Server::start`], or while the server serves: then it accepts at once.
    pub fn listen(&self, socket: OwnedFd) -> Result<ListenerId, ListenError> {
        if !self.base.lifecycle.serving() {
            return Err(ListenError::Stopping);
        }
        self.listeners.listen(socket)
    }

    /// Closes a listener; connections that came through it go on. See [`Listeners::retire`], which blocks shortly.
    pub fn retire(&self, listener: ListenerId) -> bool {
        self.listeners.retire(listener)
    }

    /// Starts to accept and serve.
    pub fn start(&self) -> io::Result<()> {
        let wanted = self.base.limits.max_connections;
        let connections = fds::raise_limit(wanted);
        if connections < wanted {
            log::debug!("{connections} connections fit into the limit of open files (max_connections is {wanted})");
        }
        // Now, before the system may run out of threads.
        self.base.disk.start();
        let http = Arc::clone(&self.http);
        let phase = self.base.lifecycle.receiver();
        let acceptor = Acceptor::new(Arc::clone(&self.base), connections, move |accepted| {
            tokio::spawn(connection::serve(accepted, Arc::clone(&http), phase.clone()));
        });
        self.reactor.start(|| {
            tokio::spawn(Arc::clone(&self.base.timers).run());
            tokio::spawn(Delivery::new(Arc::clone(&self.http.push)));
            tokio::spawn(Relief::new(Arc::clone(&self.http.push)));
            self.listeners.start(acceptor)
        })
    }

    /// See [`Reactor::worker`].
    pub fn worker(&self) -> Worker {
        self.reactor.worker()
    }

    /// See [`Reactor::try_next`].
    pub fn try_next(&self, worker: &mut Worker) -> Option<Job> {
        self.reactor.try_next(worker)
    }

    /// See [`Reactor::next`].
    pub fn next(&self, worker: &mut Worker) -> Next {
        self.reactor.next(worker)
    }

    /// See [`Reactor::set_attended`].
    pub fn set_attended(&self, attended: bool) {
        self.reactor.set_attended(attended);
    }

    /// Finishes what is open: no new connections, `on_shutdown` for every client, streams closed,
    /// requests in flight answered. Blocks until all is done, `deadline` has passed and what is
    /// left has been told to go, or something arrives on `interrupt`: then it may be called again.
    pub fn drain(&self, deadline: Instant, interrupt: &Receiver<()>) -> Drained {
        if self.base.lifecycle.advance(Phase::Draining) {
            self.http.push.announce_shutdown(deadline.saturating_duration_since(Instant::now()));
        }
        match self.base.in_flight.wait(deadline, interrupt) {
            Drained::TimedOut => {
                self.http.push.close_all();
                match self.base.in_flight.wait(deadline.max(Instant::now()) + LAST_WORDS, interrupt) {
                    Drained::Finished => Drained::Finished,
                    Drained::TimedOut | Drained::Interrupted => Drained::TimedOut,
                }
            }
            waited => waited,
        }
    }

    /// The thread that does all work that may wait for a disk.
    pub fn disk(&self) -> &Disk {
        &self.base.disk
    }

    /// What was counted so far, and how much the channels hold.
    pub fn stats(&self) -> &Stats {
        let stats = &self.base.stats;
        stats.queued_bytes.set(self.http.push.pressure.queued() as u64);
        stats.spooled_bytes.set(self.http.budget.used());
        // In a forked child the channels' lock may be held by nobody who is there.
        if !self.forked() {
            let figures = self.http.push.pubsub.channels().figures();
            stats.published.set(figures.published);
            stats.channel_bytes.set(figures.bytes);
            stats.channels.set(figures.channels);
            stats.readers.set(figures.readers);
        }
        stats
    }

    /// Stops at once, see [`Reactor::stop`], and writes what waits for the access log.
    pub fn stop(&self) {
        self.reactor.stop();
        self.listeners.stop();
        self.base.disk.stop();
        if let Some(log) = &self.http.access_log {
            log.close();
        }
    }

    /// Opens the file of the access log anew. Returns at once.
    pub fn reopen_logs(&self) {
        if let Some(log) = &self.http.access_log {
            log.reopen();
        }
    }

    /// Whether the process that the server runs in is another one than this: then nothing native
    /// may be touched.
    pub fn forked(&self) -> bool {
        self.base.owner.forked()
    }
}

fn open_access_log(settings: access_log::Settings, stats: &Arc<Stats>) -> Result<AccessLog, SettingsError> {
    let place = settings.file.as_ref().map_or_else(|| "on stdout".to_owned(), |path| path.display().to_string());
    AccessLog::open(settings, Arc::clone(stats)).map_err(|error| SettingsError::AccessLog { place, error })
}
