//! Which callbacks a handler has. It is asked once, when it is attached.

use magnus::value::ReprValue;
use magnus::{Error, RArray, Ruby, Symbol, Value};
use push_core::push::EventInterest;

use crate::support::jump::unless_raised;

/// A handler and the callbacks that it responds to.
#[derive(Clone, Copy)]
pub struct Handler {
    pub object: Value,
    pub on_open: bool,
    pub on_message: bool,
    pub on_drained: bool,
    pub on_shutdown: bool,
    pub on_close: OnClose,
    pub on_error: bool,
    pub on_gap: bool,
    /// Whether messages of its clients may be compressed.
    pub compress: bool,
}

/// How to call `on_close`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum OnClose {
    Absent,
    /// With the client.
    Client,
    /// With the client, the code and the reason.
    ClientCodeReason,
}

impl Handler {
    /// Asks `object` which callbacks it responds to. The error is what its own methods raise.
    pub fn attach(ruby: &Ruby, object: Value) -> Result<Self, Error> {
        let responds = |name: &str| object.respond_to(name, false);
        let on_close = match responds("on_close")? {
            false => OnClose::Absent,
            true if names_three_parameters(ruby, object)? => OnClose::ClientCodeReason,
            true => OnClose::Client,
        };
        Ok(Handler {
            object,
            on_open: responds("on_open")?,
            on_message: responds("on_message")?,
            on_drained: responds("on_drained")?,
            on_shutdown: responds("on_shutdown")?,
            on_close,
            on_error: responds("on_error")?,
            on_gap: responds("on_gap")?,
            compress: !responds("compress?")? || object.funcall_public::<_, _, Value>("compress?", ())?.to_bool(),
        })
    }

    /// Which events the core should report.
    pub fn interest(&self) -> EventInterest {
        EventInterest { message: self.on_message, drained: self.on_drained, gap: self.on_gap }
    }
}

/// Whether the handler's `on_close` takes a code and a reason. Only parameters with a name of their own count: a method
/// with a splat, such as a delegator, takes anything, but the method behind it may not.
fn names_three_parameters(ruby: &Ruby, object: Value) -> Result<bool, Error> {
    let named = || -> Result<usize, Error> {
        let method: Value = object.funcall("method", (ruby.to_symbol("on_close"),))?;
        let parameters: RArray = method.funcall("parameters", ())?;
        let mut count = 0;
        for index in 0..parameters.len() {
            let kind: Symbol = parameters.entry::<RArray>(index as isize)?.entry(0)?;
            count += usize::from(matches!(&*kind.name()?, "req" | "opt"));
        }
        Ok(count)
    };
    // It raises for an object without `method` (a BasicObject), and perhaps for one with a `method` of its own.
    Ok(unless_raised(named())?.is_some_and(|count| count >= 3))
}
