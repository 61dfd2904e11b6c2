//! `PushServer::Cursor`: a place in the log of all channels. `lib/push_server/cursor.rb` has the rest of its methods.

use std::sync::Arc;
use std::time::{Duration, Instant};

use magnus::typed_data::Obj;
use magnus::value::ReprValue;
use magnus::{DataTypeFunctions, Error, Module, Object, RModule, Ruby, TypedData, function, method};
use push_core::base::fork::OwnerProcess;
use push_core::channel::{self, CATCH_UP, Cancel, Channels, Progress, Receipt, Since, Ticket, Unpublished};

use crate::support::classes::define;
use crate::support::errors::{argument_error, refusal};
use crate::support::gvl::{check_interrupts, without_gvl};
use crate::support::library::{engine_error, server_error};

/// The cursor behind a message, or the end of the log. It never changes, and may be used by any thread.
#[derive(DataTypeFunctions, TypedData)]
#[magnus(class = "PushServer::Cursor", free_immediately, frozen_shareable)]
pub struct Cursor(Place);

enum Place {
    Known(channel::Cursor),
    /// The engine numbers the message later. A thread that needs the text waits for that.
    Pending {
        ticket: Arc<Ticket>,
        progress: Arc<Progress>,
        timeout: Duration,
        owner: OwnerProcess,
    },
}

pub fn init(ruby: &Ruby, module: RModule) -> Result<(), Error> {
    let class = define::<Cursor>(ruby, module, "Cursor")?;
    class.define_singleton_method("_load", function!(Cursor::load, 1))?;
    class.define_method("to_s", method!(Cursor::to_s, 0))
}

impl Cursor {
    pub fn wrap(ruby: &Ruby, cursor: channel::Cursor) -> Obj<Self> {
        frozen(ruby, Place::Known(cursor))
    }

    /// The cursor behind a message that was published.
    pub fn behind(ruby: &Ruby, channels: &Channels, receipt: Receipt) -> Obj<Self> {
        let place = match (receipt, channels.progress()) {
            (Receipt::Known(cursor), _) => Place::Known(cursor),
            (Receipt::Pending(ticket), progress) => Place::Pending {
                ticket,
                progress: progress.map(Arc::clone).unwrap_or_default(),
                timeout: channels.limits().publish_timeout,
                owner: OwnerProcess::current(),
            },
        };
        frozen(ruby, place)
    }

    fn load(ruby: &Ruby, text: String) -> Result<Obj<Self>, Error> {
        let cursor = text.parse::<channel::Cursor>().map_err(|error| argument_error(ruby, error))?;
        Ok(Cursor::wrap(ruby, cursor))
    }

    fn to_s(ruby: &Ruby, this: Obj<Self>) -> Result<String, Error> {
        let (ticket, progress, timeout) = match &this.0 {
            Place::Known(cursor) => return Ok(cursor.to_string()),
            Place::Pending { ticket, progress, timeout, owner } => {
                if ticket.outcome().is_none() && owner.forked() {
                    return Err(server_error(
                        ruby,
                        "the message was published by another process, and had no number yet",
                    ));
                }
                (ticket, progress, *timeout)
            }
        };
        if ticket.outcome().is_none() {
            wait_until_settled(ruby, progress, ticket.place(), timeout)?;
        }
        match ticket.outcome() {
            Some(Ok(cursor)) => Ok(cursor.to_string()),
            Some(Err(Unpublished::Lost)) => {
                Err(server_error(ruby, "the message is lost: the channels' engine has begun anew"))
            }
            Some(Err(Unpublished::Refused(Some(reason)))) => Err(refusal(ruby, reason)),
            Some(Err(Unpublished::Refused(None))) => {
                Err(server_error(ruby, "the hub has refused the message, and has ended before it could say why"))
            }
            None => {
                // The response that says so need not wait again.
                channel::forget_unnumbered_up_to(ticket.place());
                Err(engine_error(ruby, "the message has no number yet: the channels' engine does not answer"))
            }
        }
    }
}

fn frozen(ruby: &Ruby, place: Place) -> Obj<Cursor> {
    let cursor = ruby.obj_wrap(Cursor(place));
    cursor.freeze();
    cursor
}

/// Waits for the engine until it has numbered all that this process has submitted up to `submission`, at most `timeout`.
/// Other Ruby threads run meanwhile. The error is what Ruby wants this thread to raise.
fn wait_until_settled(ruby: &Ruby, progress: &Progress, submission: u64, timeout: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + timeout;
    while !progress.is_settled(submission) && Instant::now() < deadline {
        let cancel = Cancel::default();
        without_gvl(ruby, || progress.wait(submission, deadline, &cancel), || progress.cancel(&cancel));
        check_interrupts(ruby)?;
    }
    Ok(())
}

/// Waits for what this process has published so far: a thread that looks at channels must find it there. The engine of a
/// single process never makes it wait.
pub fn settle(ruby: &Ruby, channels: &Channels) -> Result<(), Error> {
    // In a forked child a lock may be held by a thread that is not there.
    if channels.forked() {
        return Ok(());
    }
    let (Some(submission), Some(progress)) = (channels.unsettled(), channels.progress()) else { return Ok(()) };
    wait_until_settled(ruby, progress, submission, channels.limits().publish_timeout)
}

/// Waits for what the clients of this process have done so far, as members: a thread that looks at members must find them there.
/// While there is no hub, it waits for the same time as [`settle`] does. The engine of a single process never makes it wait.
pub fn settle_members(ruby: &Ruby, channels: &Channels) -> Result<(), Error> {
    if channels.forked() {
        return Ok(());
    }
    let (Some(command), Some(progress)) = (channels.unsettled_command(), channels.progress()) else { return Ok(()) };
    let deadline = Instant::now() + channels.limits().publish_timeout;
    loop {
        let cancel = Cancel::default();
        let wait = || progress.wait_for_command(command, deadline, &cancel);
        let settled = without_gvl(ruby, wait, || progress.cancel(&cancel)) == Some(true);
        check_interrupts(ruby)?;
        if settled || Instant::now() >= deadline {
            return Ok(());
        }
    }
}

/// How often a thread looks whether this process has caught up.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Waits until this process has caught up with a cursor that it has not reached, or knows that it never will: what is
/// ahead of this process is no gap. Other Ruby threads run meanwhile. With the engine of a single process it never waits.
pub fn catch_up(ruby: &Ruby, channels: &Channels, since: Since) -> Result<(), Error> {
    if channels.forked() {
        return Ok(());
    }
    let (Some(catch_up), Some(progress)) = (channels.catch_up(since), channels.progress()) else { return Ok(()) };
    let deadline = Instant::now() + CATCH_UP;
    while channels.is_behind(&catch_up) && Instant::now() < deadline {
        let cancel = Cancel::default();
        let attempt = || (!channels.is_behind(&catch_up)).then_some(());
        // Messages of others are no room, so that a thread also looks by itself.
        let until = deadline.min(Instant::now() + LOOK_AGAIN);
        without_gvl(ruby, || progress.wait_for_room(until, &cancel, attempt), || progress.cancel(&cancel));
        check_interrupts(ruby)?;
    }
    Ok(())
}
