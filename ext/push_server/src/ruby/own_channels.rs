//! The channels that this process has of its own, and the engine that orders their messages.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use magnus::{Error, RHash, Ruby};
use push_core::base::fork::{NotInChild, OwnerProcess};
use push_core::base::stats::StatsHandle;
use push_core::channel::{Cancel, Channels, Engine, Policy, Progress};
use push_core::engine::Local;
use push_core::engine::hub::client::{HubClient, WorkerSettings, replace_worker};
use push_core::push::PubSub;

use crate::ruby::{lifeline, outside, slots};
use crate::support::cell::GvlCell;
use crate::support::errors::io_error;
use crate::support::gvl::{check_interrupts, without_gvl};
use crate::support::library::server_error;
use crate::support::settings;

static PROCESS: GvlCell<Option<Process>> = GvlCell::new(None);

/// The channels of the process. They exist from their first use on.
pub struct Process {
    pubsub: NotInChild<PubSub>,
    /// Whether a server was made for the channels. If so, a child that is forked now does not serve them.
    serves: bool,
    /// The rules that `PushServer.channel` has set. The channels of a child begin with them.
    rules: Vec<(String, Policy)>,
    /// The engine, if it talks to the hub.
    hub: Option<NotInChild<Arc<HubClient>>>,
}

impl Process {
    fn new(rules: Vec<(String, Policy)>) -> Self {
        Process::with(PubSub::new(Local::shared), rules)
    }

    /// The channels of a worker, which get their order from the hub.
    fn of_worker(stats: StatsHandle, rules: Vec<(String, Policy)>, settings: WorkerSettings) -> io::Result<Self> {
        let mut hub = None;
        let pubsub = PubSub::try_new(stats, |wake| {
            let client = HubClient::new(settings, wake)?;
            Ok::<_, io::Error>(Arc::clone(hub.insert(client)) as _)
        })?;
        let mut process = Process::with(pubsub, rules);
        if let Some(hub) = &hub {
            hub.set_channels(process.channels());
        }
        process.hub = hub.map(|hub| NotInChild::new(OwnerProcess::current(), hub));
        Ok(process)
    }

    fn with(pubsub: PubSub, rules: Vec<(String, Policy)>) -> Self {
        let now = Instant::now();
        rules.iter().for_each(|(glob, policy)| pubsub.channels().define(glob, policy.clone(), now));
        let pubsub = NotInChild::new(OwnerProcess::current(), pubsub);
        Process { pubsub, serves: false, rules, hub: None }
    }

    pub fn channels(&self) -> &Arc<Channels> {
        self.pubsub.channels()
    }

    /// Sets a rule. It takes the place of one for the same glob.
    pub fn define(&mut self, glob: String, policy: Policy) {
        self.rules.retain(|(other, _)| *other != glob);
        self.channels().define(&glob, policy.clone(), Instant::now());
        self.rules.push((glob, policy));
    }
}

/// Works on the channels of this process. `work` must not call Ruby. In a forked child of a process that serves this is
/// a `PushServer::Error`.
pub fn with_process<R>(ruby: &Ruby, work: impl FnOnce(&mut Process) -> R) -> Result<R, Error> {
    let result = PROCESS.with(ruby, |slot| {
        renew(slot, false);
        let process = slot.get_or_insert_with(|| Process::new(Vec::new()));
        (!process.channels().forked()).then(|| work(process))
    });
    result.ok_or_else(|| server_error(ruby, "this process was forked off the one that serves: do that there"))
}

/// In a forked child, replaces channels that belong to the parent. If the parent serves them, this happens only with
/// `always`.
fn renew(slot: &mut Option<Process>, always: bool) {
    if let Some(process) = slot
        && process.channels().forked()
        && (always || !process.serves)
    {
        *process = Process::new(std::mem::take(&mut process.rules));
    }
}

/// The channels for a server of this process. In a forked child they are new.
pub fn for_server(ruby: &Ruby) -> PubSub {
    // What was published to another server is answered. From now on this process publishes by itself.
    outside::close(ruby);
    PROCESS.with(ruby, |slot| {
        renew(slot, true);
        let process = slot.get_or_insert_with(|| Process::new(Vec::new()));
        process.serves = true;
        PubSub::clone(&process.pubsub)
    })
}

/// Makes the channels anew, with the rules that the app has set. The connections to the hub come over the lifeline.
pub fn use_hub(ruby: &Ruby, process: u32, generation: u32, workers: usize, hash: RHash) -> Result<(), Error> {
    let (server, _) = settings::parse(ruby, hash)?;
    let settings = WorkerSettings { process, generation, workers, give_up: replace_worker };
    let stats = slots::own_counters(ruby);
    let hub = PROCESS.with(ruby, |slot| {
        let serves = slot.as_ref().is_some_and(|process| process.serves && !process.channels().forked());
        if serves {
            return Err("this process has a server already".to_owned());
        }
        let rules = slot.as_ref().map(|process| process.rules.clone()).unwrap_or_default();
        let process = Process::of_worker(stats, rules, settings).map_err(|error| error.to_string())?;
        // Before the hub's log comes, which may need the memory.
        process.channels().configure(server.channel_limits(), server.default_event.as_deref());
        let hub = process.hub.as_ref().map(|hub| Arc::clone(hub));
        *slot = Some(process);
        Ok(hub)
    });
    match hub {
        Ok(Some(hub)) => lifeline::on_hub(ruby, move |socket| hub.connect(socket)),
        Ok(None) => {}
        Err(message) => return Err(io_error(ruby, message)),
    }
    Ok(())
}

/// The app is loaded. Whether the hub's log comes within `seconds`. True if there is no hub.
pub fn await_hub(ruby: &Ruby, seconds: f64) -> Result<bool, Error> {
    let hub = with_process(ruby, |process| process.hub.as_ref().map(|hub| Arc::clone(hub)))?;
    let Some(hub) = hub else { return Ok(true) };
    hub.loaded();
    let deadline = Instant::now() + Duration::from_secs_f64(seconds.clamp(0.0, 1e9));
    wait_for_engine(ruby, hub.progress(), deadline, |cancel| hub.await_log(deadline, cancel))
}

/// Whether all that this process has published has its number within `seconds`, and the members that it has disconnected are
/// disconnected everywhere.
pub fn settle_within(ruby: &Ruby, seconds: f64) -> Result<bool, Error> {
    let channels = channels(ruby)?;
    let (submission, disconnect) = (channels.unsettled().unwrap_or(0), channels.last_disconnect());
    let deadline = Instant::now() + Duration::from_secs_f64(seconds.clamp(0.0, 1e9));
    wait_for_engine(ruby, channels.progress(), deadline, |cancel| {
        channels.progress().is_none_or(|progress| {
            progress.wait(submission, deadline, cancel) && progress.wait_for_command(disconnect, deadline, cancel)
        })
    })
}

/// Waits without the GVL until `wait` returns true, or until `deadline`.
fn wait_for_engine(
    ruby: &Ruby,
    progress: Option<&Arc<Progress>>,
    deadline: Instant,
    wait: impl Fn(&Cancel) -> bool,
) -> Result<bool, Error> {
    let Some(progress) = progress else { return Ok(true) };
    loop {
        let cancel = Cancel::default();
        if without_gvl(ruby, || wait(&cancel), || progress.cancel(&cancel)) == Some(true) {
            return Ok(true);
        }
        check_interrupts(ruby)?;
        if Instant::now() >= deadline {
            return Ok(false);
        }
    }
}

/// The channels of this process: see [`with_process`].
pub fn channels(ruby: &Ruby) -> Result<Arc<Channels>, Error> {
    with_process(ruby, |process| Arc::clone(process.channels()))
}

/// The server to which this process publishes, if it has none.
pub fn server_outside(ruby: &Ruby) -> Result<Option<outside::Server>, Error> {
    let publishes = PROCESS.with(ruby, |slot| {
        let own = slot.as_ref().filter(|process| process.serves || process.hub.is_some());
        own.is_some_and(|process| !process.channels().forked())
    });
    if publishes { Ok(None) } else { outside::server(ruby) }
}
