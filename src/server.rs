//! The server: it puts the other modules together, and its methods are what a host program calls.

mod gauges;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use thiserror::Error;

use self::gauges::{Gauges, Gauging};
use crate::access_log::{AccessLog, AccessLogSettings};
use crate::base;
use crate::base::disk::Disk;
use crate::base::in_flight::Drained;
use crate::base::limits::Limits;
use crate::base::lock::Lock;
use crate::base::stats::{Stats, StatsHandle};
use crate::channel;
use crate::engine::PublishSocket;
use crate::http::budget::Budget;
use crate::http::connection;
use crate::http::origin::{Allowed, BadOrigin};
use crate::http::{self, files::PublicDir};
use crate::metrics::{self, Figures};
use crate::net::h2_received::Received;
use crate::net::tls;
use crate::net::{Acceptor, BadNetwork, ListenError, ListenerId, Listeners, TrustedProxies, fds};
use crate::push::delivery::Delivery;
use crate::push::fan_out::Writing;
use crate::push::poll::Relaying;
use crate::push::pressure::Relief;
use crate::push::{self, PubSub, SlowPolicy};
use crate::reactor::{AppThread, Job, Next, Reactor, Scheduler};

/// How long a drain that has run out of time waits for the Close frames of the clients that it closes.
const CLOSE_FRAME_TIMEOUT: Duration = Duration::from_millis(500);

/// How a server is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bounds and timeouts.
    pub limits: Limits,
    /// What happens to slow clients.
    pub slow_policy: SlowPolicy,
    /// Whether messages of WebSockets are compressed, if clients offer that.
    pub websocket_compression: bool,
    /// Origins whose pages may open a WebSocket, besides the server's own: URLs, or `*`.
    pub allowed_origins: Vec<String>,
    /// A directory whose files are served before the app is asked.
    pub public_dir: Option<PathBuf>,
    /// The name of events that the app gives none. Free of CR, LF and NUL. `None`: they have no name.
    pub default_event: Option<String>,
    /// The query parameter that makes a request for an event stream a long poll. `None`: there are no long polls.
    pub poll_parameter: Option<String>,
    /// Proxies in front of the server, which tell the client's address: addresses and networks.
    pub trusted_proxies: Vec<String>,
    /// Whether connections of these proxies begin with a header of the PROXY protocol, version 2.
    pub proxy_protocol: bool,
    /// Whether connections may speak HTTP/2.
    pub http2: bool,
    /// Whether clients may open WebSockets by it.
    pub http2_websocket: bool,
    /// How requests are logged. `None`: they are not.
    pub access_log: Option<AccessLogSettings>,
    /// Whether messages go to idle streams without waking them: see [`push::fan_out`]. True, except in tests that compare:
    /// clients get the same either way.
    pub fan_out: bool,
}

impl Settings {
    /// The bounds of the channels.
    pub fn channel_limits(&self) -> channel::Limits {
        let deflate_min = self.websocket_compression.then_some(self.limits.deflate_min_bytes);
        channel::Limits { deflate_min, ..channel::Limits::from(&self.limits) }
    }
}

/// A setting that cannot work.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// See [`BadOrigin`].
    #[error(transparent)]
    Origin(#[from] BadOrigin),
    /// See [`BadNetwork`].
    #[error(transparent)]
    Network(#[from] BadNetwork),
    /// Without trusted proxies, no connection would begin with such a header.
    #[error("proxy_protocol needs trusted_proxy: the addresses of the proxies that send the header")]
    ProxyProtocol,
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

/// A server. It is made, started, drained and stopped, in this order. All methods may be called from any thread.
pub struct Server {
    reactor: Reactor,
    http: Arc<http::Context>,
    base: Arc<base::Context>,
    listeners: Listeners,
    /// The publish socket, before the start.
    publish: Lock<Option<PublishSocket>>,
    /// The sockets on which metrics are served, before the start.
    metrics: Lock<Vec<OwnedFd>>,
}

impl Server {
    /// A server that does not run yet. `pubsub` has the channels of the process.
    pub fn new(settings: Settings, pubsub: PubSub) -> Result<Self, SettingsError> {
        Server::counting_in(StatsHandle::default(), settings, pubsub)
    }

    /// The same with counters that may lie in memory of several processes.
    pub fn counting_in(stats: StatsHandle, settings: Settings, pubsub: PubSub) -> Result<Self, SettingsError> {
        let channels = settings.channel_limits();
        let allowed = settings.allowed_origins.iter().map(String::as_str);
        let origins = Allowed::parse(allowed)?;
        let trusted_proxies = TrustedProxies::parse(settings.trusted_proxies.iter().map(String::as_str))?;
        if settings.proxy_protocol && trusted_proxies.is_empty() {
            return Err(SettingsError::ProxyProtocol);
        }
        let open = |path: PathBuf| PublicDir::open(&path).map_err(|error| SettingsError::PublicDir { path, error });
        let files = settings.public_dir.map(open).transpose()?;
        let base = Arc::new(base::Context::counting_in(stats, settings.limits));
        let access_log = settings.access_log.map(|it| open_access_log(it, &base.stats)).transpose()?;
        let scheduler = Arc::new(Scheduler::new(Arc::clone(&base)));
        pubsub.channels().configure(channels, settings.default_event.as_deref());
        let callbacks = Arc::clone(&scheduler) as Arc<dyn push::Callbacks>;
        let push = Arc::new(push::Context {
            slow_policy: settings.slow_policy,
            compression: settings.websocket_compression,
            ..push::Context::new(Arc::clone(&base), callbacks, pubsub)
        });
        push.fan_out.switch(settings.fan_out);
        let http = Arc::new(http::Context {
            push,
            dispatch: Arc::clone(&scheduler) as Arc<dyn http::Dispatch>,
            access_log,
            origins,
            files,
            budget: Budget::of_folder(base.limits.max_spooled_total),
            trusted_proxies,
            proxy_protocol: settings.proxy_protocol,
            poll_parameter: settings.poll_parameter,
            http2: settings.http2,
            http2_websocket: settings.http2_websocket,
            h2_received: Received::new(base.limits.max_h2_received),
            base: Arc::clone(&base),
        });
        Ok(Server {
            reactor: Reactor::new(scheduler, Arc::clone(&base)),
            http,
            base,
            listeners: Listeners::default(),
            publish: Lock::default(),
            metrics: Lock::default(),
        })
    }

    /// Adds a listener: a stream socket of IPv4, IPv6 or the Unix family on which `listen` was called. Requests that come
    /// through it have the id returned. Before [`Server::start`], or while the server serves: then connections are
    /// accepted at once.
    pub fn listen(&self, socket: OwnedFd) -> Result<ListenerId, ListenError> {
        self.add(socket, None)
    }

    /// The same for a listener whose connections are encrypted.
    pub fn listen_tls(&self, socket: OwnedFd, tls: tls::Config) -> Result<ListenerId, ListenError> {
        self.add(socket, Some(self.offered(tls)))
    }

    /// With the protocols that this server speaks.
    fn offered(&self, tls: tls::Config) -> tls::Config {
        if self.http.http2 { tls } else { tls.without_http2() }
    }

    fn add(&self, socket: OwnedFd, tls: Option<tls::Config>) -> Result<ListenerId, ListenError> {
        if !self.base.lifecycle.serving() {
            return Err(ListenError::Stopping);
        }
        self.listeners.listen(socket, tls)
    }

    /// Replaces what a listener needs for TLS. See [`Listeners::renew`].
    pub fn renew_tls(&self, listener: ListenerId, tls: tls::Config) -> bool {
        self.listeners.renew(listener, self.offered(tls))
    }

    /// Closes a listener. Connections that came through it go on. Blocks shortly; see [`Listeners::retire`].
    pub fn retire(&self, listener: ListenerId) -> bool {
        self.listeners.retire(listener)
    }

    /// Closes all listeners, as [`Server::retire`] does.
    pub fn retire_all(&self) {
        self.listeners.retire_all();
    }

    /// Publishes what processes without a server send to this socket: a Unix socket on which `listen` was called. Before
    /// [`Server::start`]. The engine of the channels must be that of a single process.
    ///
    /// # Errors
    ///
    /// The system refuses to make the socket non-blocking.
    pub fn publish_from(&self, socket: OwnedFd) -> io::Result<()> {
        let channels = Arc::clone(self.http.push.pubsub.channels());
        *self.publish.lock() = Some(PublishSocket::new(socket, channels)?);
        Ok(())
    }

    /// Serves metrics on this socket, too: a stream socket on which `listen` was called. Before [`Server::start`].
    pub fn serve_metrics(&self, socket: OwnedFd) {
        self.metrics.lock().push(socket);
    }

    /// Starts to accept and serve.
    pub fn start(&self) -> io::Result<()> {
        let wanted = self.base.limits.max_connections;
        let connections = fds::raise_limit(wanted);
        if connections < wanted {
            log::debug!("{connections} connections fit into the limit of open files (max_connections is {wanted})");
        }
        // Now: later the system may have no more threads to give.
        self.base.disk.start();
        // Only workers of several have a number.
        let shared = self.http.push.pubsub.channels().process() > 0;
        let http = Arc::clone(&self.http);
        let phase = self.base.lifecycle.receiver();
        let acceptor = Acceptor::new(Arc::clone(&self.base), connections, shared, move |accepted| {
            connection::begin(accepted, Arc::clone(&http), phase.clone());
        });
        self.reactor.start(|| {
            let channels = self.http.push.pubsub.channels();
            if let Some(task) = channels.engine_task(&self.base.wakeups) {
                tokio::spawn(task);
            }
            tokio::spawn(Delivery::new(Arc::clone(&self.http.push)));
            tokio::spawn(Writing::new(Arc::clone(&self.http.push)));
            tokio::spawn(Relief::new(Arc::clone(&self.http.push)));
            tokio::spawn(Gauging::new(Arc::clone(&self.http)));
            if let Some(relay) = &self.http.push.relay {
                tokio::spawn(Relaying::new(&self.http.push, relay));
            }
            if let Some(publish) = self.publish.lock().take() {
                tokio::spawn(publish.serve(self.base.lifecycle.receiver(), &self.base.timers)?);
            }
            let http = Arc::clone(&self.http);
            let source: metrics::Source = Arc::new(move || Some(Figures::of_process(fresh(&http))));
            metrics::serve(std::mem::take(&mut *self.metrics.lock()), &source, &self.base.timers)?;
            self.listeners.start(acceptor)
        })
    }

    /// See [`Reactor::app_thread`].
    pub fn app_thread(&self) -> AppThread {
        self.reactor.app_thread()
    }

    /// See [`Reactor::try_next`].
    pub fn try_next(&self, app_thread: &mut AppThread) -> Option<Job> {
        self.reactor.try_next(app_thread)
    }

    /// See [`Reactor::next`].
    pub fn next(&self, app_thread: &mut AppThread) -> Next {
        self.reactor.next(app_thread)
    }

    /// See [`Reactor::set_attended`].
    pub fn set_attended(&self, attended: bool) {
        self.reactor.set_attended(attended);
    }

    /// Accepts no more connections, posts `on_shutdown` to every client, and waits until streams are closed and requests
    /// answered. At `deadline` the clients that are left are closed. Returns early if something arrives on `interrupt`; then
    /// it may be called again. `restarts` says whether another server follows: WebSockets are closed with 1012 then, and
    /// with 1001 otherwise.
    pub fn drain(&self, deadline: Instant, restarts: bool, interrupt: &Receiver<()>) -> Drained {
        if self.base.lifecycle.serving() {
            self.http.push.set_restarts(restarts);
        }
        if self.base.lifecycle.drain(deadline, restarts) {
            self.http.push.announce_shutdown(deadline.saturating_duration_since(Instant::now()));
        }
        match self.base.in_flight.wait(deadline, interrupt) {
            Drained::TimedOut => {
                self.http.push.close_all();
                match self.base.in_flight.wait(deadline.max(Instant::now()) + CLOSE_FRAME_TIMEOUT, interrupt) {
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

    /// A thread goes on with the job that it was given. Until now, it has waited for the lock of its language.
    pub fn begin_job(&self, app_thread: &AppThread) {
        self.base.stats.gvl_wait_microseconds.add_many(app_thread.held().as_micros() as u64);
    }

    /// The counters, and how much the channels hold now.
    pub fn stats(&self) -> &Stats {
        fresh(&self.http)
    }

    /// Stops at once (see [`Reactor::stop`]), and writes the lines that wait for the access log.
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

    /// Whether this process is a forked child of the one that the server runs in. Then nothing native may be used.
    pub fn forked(&self) -> bool {
        self.base.owner.forked()
    }
}

/// The counters, and how much the channels hold now.
fn fresh(http: &http::Context) -> &Stats {
    // In a forked child, the channels' lock may be held by a thread that does not exist there.
    if !http.base.owner.forked() {
        Gauges::of(http).store(&http.base.stats);
    }
    &http.base.stats
}

fn open_access_log(settings: AccessLogSettings, stats: &StatsHandle) -> Result<AccessLog, SettingsError> {
    let place = settings.file.as_ref().map_or_else(|| "on stdout".to_owned(), |path| path.display().to_string());
    AccessLog::open(settings, stats.clone()).map_err(|error| SettingsError::AccessLog { place, error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Local;

    #[test]
    fn the_fan_out_is_on_or_off_as_the_settings_say() {
        for fan_out in [true, false] {
            let settings = Settings {
                limits: Limits::default(),
                slow_policy: SlowPolicy::Close,
                websocket_compression: false,
                allowed_origins: Vec::new(),
                public_dir: None,
                default_event: None,
                poll_parameter: None,
                trusted_proxies: Vec::new(),
                proxy_protocol: false,
                http2: true,
                http2_websocket: true,
                access_log: None,
                fan_out,
            };
            let server = Server::new(settings, PubSub::new(Local::shared)).unwrap();
            assert_eq!(server.http.push.fan_out.is_on(), fan_out);
        }
    }
}
