//! `PushServer::NativeServer`: the native server, as `PushServer::Service` runs it.

use std::cell::Cell;
use std::io::ErrorKind;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::LevelFilter;
use magnus::gc::Marker;
use magnus::typed_data::Obj;
use magnus::{DataTypeFunctions, Error, Module, Object, RHash, RModule, Ruby, TypedData, Value, function, method};
use push_core::base::fork::{NotInChild, OwnerProcess};
use push_core::base::in_flight::Drained;
use push_core::base::memory;
use push_core::channel;
use push_core::http::budget;
use push_core::net::ListenerId;
use push_core::push::{Turn, pressure};
use push_core::{Job, Next, Server};

use crate::app::context::ThreadContext;
use crate::app::{events, request};
use crate::rack::env_template::{Template, Templates};
use crate::ruby::ticket_keys::NativeTicketKeys;
use crate::ruby::{answer, client, lifeline, own_channels, slots};
use crate::support::app_threads::{AppThreads, Shortage};
use crate::support::descriptor::duplicate;
use crate::support::errors::{argument_error, io_error};
use crate::support::gvl::{Interrupt, check_interrupts, wait_without_gvl, without_gvl, without_gvl_for_a_moment};
use crate::support::jump::contained;
use crate::support::library::{self, server_error};
use crate::support::settings::{self, Own};
use crate::support::{classes, developer_hints, statistics, tls};

/// The Ruby object: a server, its app, and the env templates of its listeners. `lib/push_server/native/` documents
/// its methods; the comments here say what is not seen from outside.
#[derive(TypedData)]
#[magnus(class = "PushServer::NativeServer", mark, free_immediately)]
struct NativeServer {
    server: NotInChild<Arc<Server>>,
    own: Own,
    app: Value,
    templates: Templates,
    app_threads: Arc<AppThreads>,
}

// SAFETY: the VALUEs in here are only used with the GVL, by methods that Ruby calls.
unsafe impl Send for NativeServer {}
// SAFETY: as above.
unsafe impl Sync for NativeServer {}

impl DataTypeFunctions for NativeServer {
    fn mark(&self, marker: &Marker) {
        marker.mark(self.app);
        self.templates.mark(marker);
    }
}

pub fn init(ruby: &Ruby, module: RModule) -> Result<(), Error> {
    let class = classes::define::<NativeServer>(ruby, module, "NativeServer")?;
    class.const_set("LIMITS", settings::table(ruby)?)?;
    class.const_set("STATISTICS", statistics::numbers(ruby)?)?;
    class.const_set("HISTOGRAMS", statistics::histograms(ruby)?)?;
    class.const_set("METRICS", settings::metrics(ruby)?)?;
    class.define_singleton_method("new", function!(NativeServer::new, 2))?;
    class.define_singleton_method("log_level=", function!(set_log_level, 1))?;
    class.define_singleton_method("check_tls", function!(tls::check, 1))?;
    class.define_singleton_method("machine", function!(machine, 0))?;
    class.define_method("listen", method!(NativeServer::listen, 2))?;
    class.define_method("listen_tls", method!(NativeServer::listen_tls, 4))?;
    class.define_method("renew_tls", method!(NativeServer::renew_tls, 3))?;
    class.define_method("retire", method!(NativeServer::retire, 1))?;
    class.define_method("publish_from", method!(NativeServer::publish_from, 1))?;
    class.define_method("serve_metrics", method!(NativeServer::serve_metrics, 1))?;
    class.define_method("start", method!(NativeServer::start, 0))?;
    class.define_method("work", method!(NativeServer::work, 0))?;
    class.define_method("drain", method!(NativeServer::drain, 2))?;
    class.define_method("await_shortage", method!(NativeServer::await_shortage, 0))?;
    class.define_method("threads_left=", method!(NativeServer::set_threads_left, 1))?;
    class.define_method("reopen_logs", method!(NativeServer::reopen_logs, 0))?;
    class.define_method("stats", method!(NativeServer::stats, 0))?;
    class.define_method("histograms", method!(NativeServer::histograms, 0))?;
    class.define_method("stop", method!(NativeServer::stop, 0))?;
    Ok(())
}

/// What depends on the machine, for a process that has it to itself.
fn machine(ruby: &Ruby) -> Result<RHash, Error> {
    let figures = ruby.hash_new();
    figures.aset(ruby.to_symbol("memory"), memory::available())?;
    figures.aset(ruby.to_symbol("max_queued_total"), pressure::default_most())?;
    figures.aset(ruby.to_symbol("max_spooled_total"), budget::default_most())?;
    Ok(figures)
}

fn set_log_level(ruby: &Ruby, level: String) -> Result<(), Error> {
    let level = LevelFilter::from_str(&level).map_err(|_| {
        let message = format!("log level can be debug, info, warn or error, not {level}");
        argument_error(ruby, message)
    })?;
    log::set_max_level(level);
    Ok(())
}

impl NativeServer {
    fn new(ruby: &Ruby, app: Value, hash: RHash) -> Result<Obj<Self>, Error> {
        classes::load(ruby)?;
        library::load(ruby)?;
        let (settings, own) = settings::parse(ruby, hash)?;
        developer_hints::expect_event_names(own.hint_event_name);
        developer_hints::expect_text_in_bytes(own.hint_text_in_bytes);
        let max_streaming = settings.limits.max_streaming;
        let server = Server::counting_in(slots::own_counters(ruby), settings, own_channels::for_server(ruby))
            .map_err(|error| argument_error(ruby, error))?;
        let server = Arc::new(server);
        lifeline::protect(ruby, &server);
        let attended = Arc::downgrade(&server);
        let app_threads = AppThreads::new(own.threads, max_streaming, move |attend| {
            if let Some(server) = attended.upgrade() {
                server.set_attended(attend);
            }
        });
        Ok(ruby.obj_wrap(NativeServer {
            server: NotInChild::new(OwnerProcess::current(), server),
            own,
            app,
            templates: Templates::default(),
            app_threads,
        }))
    }

    /// An error in a forked child.
    fn refuse_child(&self, ruby: &Ruby) -> Result<(), Error> {
        if self.server.forked() { Err(server_error(ruby, "this server belongs to the parent process")) } else { Ok(()) }
    }

    fn listen(ruby: &Ruby, this: Obj<Self>, descriptor: i32, template: RHash) -> Result<u64, Error> {
        this.refuse_child(ruby)?;
        let socket = duplicate(ruby, descriptor)?;
        let template = Template::new(ruby, template)?;
        let listener = this.server.listen(socket).map_err(|error| io_error(ruby, error))?;
        // A request may have come already. Its app thread finds the template, because this thread has kept the GVL.
        this.templates.add(ruby, listener, template);
        Ok(listener.0)
    }

    fn listen_tls(
        ruby: &Ruby,
        this: Obj<Self>,
        descriptor: i32,
        template: RHash,
        content: RHash,
        keys: Obj<NativeTicketKeys>,
    ) -> Result<u64, Error> {
        this.refuse_child(ruby)?;
        let config = tls::config(ruby, content, Arc::clone(&keys.0))?;
        let socket = duplicate(ruby, descriptor)?;
        let template = Template::new(ruby, template)?;
        let listener = this.server.listen_tls(socket, config).map_err(|error| io_error(ruby, error))?;
        // As in `listen`.
        this.templates.add(ruby, listener, template);
        Ok(listener.0)
    }

    fn renew_tls(
        ruby: &Ruby,
        this: Obj<Self>,
        listener: u64,
        content: RHash,
        keys: Obj<NativeTicketKeys>,
    ) -> Result<bool, Error> {
        this.refuse_child(ruby)?;
        let config = tls::config(ruby, content, Arc::clone(&keys.0))?;
        Ok(this.server.renew_tls(ListenerId(listener), config))
    }

    fn publish_from(ruby: &Ruby, this: Obj<Self>, descriptor: i32) -> Result<(), Error> {
        this.refuse_child(ruby)?;
        let socket = duplicate(ruby, descriptor)?;
        this.server.publish_from(socket).map_err(|error| io_error(ruby, error))
    }

    fn serve_metrics(ruby: &Ruby, this: Obj<Self>, descriptor: i32) -> Result<(), Error> {
        this.refuse_child(ruby)?;
        this.server.serve_metrics(duplicate(ruby, descriptor)?);
        Ok(())
    }

    fn retire(ruby: &Ruby, this: Obj<Self>, listener: u64) -> bool {
        if this.server.forked() {
            return false;
        }
        let listener = ListenerId(listener);
        // The reactor needs no GVL, so this ends soon even if the GVL is kept.
        let retired = without_gvl_for_a_moment(ruby, || this.server.retire(listener));
        retired.unwrap_or_else(|| this.server.retire(listener))
    }

    fn start(ruby: &Ruby, this: Obj<Self>) -> Result<(), Error> {
        this.refuse_child(ruby)?;
        this.server.start().map_err(|error| {
            let cure = match error.kind() {
                ErrorKind::WouldBlock => ": raise the system's limit on threads",
                _ => "",
            };
            server_error(ruby, &format!("cannot start the reactor: {error}{cure}"))
        })
    }

    /// Runs many jobs without releasing the GVL between them, but takes only one at a time, so that any app thread can take
    /// a job that has not begun. Releases the GVL to wait for a job.
    fn work(ruby: &Ruby, this: Obj<Self>) -> Result<bool, Error> {
        if this.server.forked() {
            return Ok(false);
        }
        let mut app_thread = this.server.app_thread();
        let handle = Arc::clone(app_thread.handle());
        let context = ThreadContext {
            app: this.app,
            templates: &this.templates,
            own: &this.own,
            app_threads: &this.app_threads,
            streaming: Cell::default(),
            answer: Cell::default(),
            server: &this.server,
        };
        let _presence = this.app_threads.arrive();
        // A callback can fork without a block. Its child comes back to here, and has no server to work for.
        while !this.server.forked() {
            let job = match this.server.try_next(&mut app_thread) {
                Some(job) => job,
                None => {
                    client::forget_last_write(ruby);
                    match without_gvl(ruby, || this.server.next(&mut app_thread), || handle.interrupt()) {
                        Some(Next::Job(job)) => {
                            this.server.begin_job(&app_thread);
                            job
                        }
                        Some(Next::Stopped) => break,
                        Some(Next::Interrupted) | None => {
                            check_interrupts(ruby)?;
                            continue;
                        }
                    }
                }
            };
            run(ruby, &context, job)?;
            if this.app_threads.surplus() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn drain(ruby: &Ruby, this: Obj<Self>, seconds: f64, restarts: bool) -> Result<bool, Error> {
        if this.server.forked() {
            return Ok(true);
        }
        let interrupt = Interrupt::new();
        let deadline = Instant::now() + Duration::from_secs_f64(seconds.clamp(0.0, 1e9));
        let wait = || match this.server.drain(deadline, restarts, interrupt.receiver()) {
            Drained::Finished => Some(true),
            Drained::TimedOut => Some(false),
            Drained::Interrupted => None,
        };
        wait_without_gvl(ruby, wait, || interrupt.send())
    }

    fn await_shortage(ruby: &Ruby, this: Obj<Self>) -> Result<bool, Error> {
        if this.server.forked() {
            return Ok(false);
        }
        let shortage = wait_without_gvl(ruby, || this.app_threads.await_shortage(), || this.app_threads.interrupt())?;
        Ok(shortage == Shortage::OneMore)
    }

    fn set_threads_left(this: Obj<Self>, left: Option<usize>) {
        if !this.server.forked() {
            this.app_threads.set_left(left);
        }
    }

    fn reopen_logs(this: Obj<Self>) {
        if !this.server.forked() {
            this.server.reopen_logs();
        }
    }

    fn stats(ruby: &Ruby, this: Obj<Self>) -> Result<RHash, Error> {
        statistics::counted(ruby, this.server.stats())
    }

    fn histograms(ruby: &Ruby, this: Obj<Self>) -> Result<RHash, Error> {
        statistics::durations(ruby, this.server.stats())
    }

    fn stop(ruby: &Ruby, this: Obj<Self>) {
        if !this.server.forked() {
            this.app_threads.stop();
            // The reactor's thread ends by itself at once, so nothing has to interrupt this wait. A pending interrupt
            // must not prevent the stop either: then the wait keeps the GVL.
            let stopped = without_gvl_for_a_moment(ruby, || this.server.stop());
            if stopped.is_none() {
                this.server.stop();
            }
        }
    }
}

/// Runs a job. What others wait for (the app thread's presence, the mark of a drain, a client's turn, a body's end, a request's
/// answer) is held outside of the guard: it is given back even if something raises unexpectedly and jumps over the frames
/// inside.
fn run(ruby: &Ruby, context: &ThreadContext<'_>, job: Job) -> Result<(), Error> {
    let ended = match job {
        Job::Request(request, mark) => {
            channel::forget_unnumbered();
            let ended = contained(|| request::serve(ruby, context, *request));
            drop(mark);
            ended
        }
        Job::Callbacks(client) => {
            let turn = Turn::begin(client);
            contained(|| events::run(ruby, &turn))
        }
    };
    drop(context.streaming.take());
    if let Some(answer) = context.answer.take() {
        answer::close(ruby, answer);
    }
    ended
}
