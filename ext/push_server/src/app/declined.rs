//! Logs why a request was not upgraded although its app has a handler for it.

use push_core::base::log_throttle::{HeldBack, LogThrottle};

use crate::app::request_line::RequestLine;

/// Why a request was not upgraded.
#[derive(Clone, Copy)]
pub enum Declined {
    /// The app has set a handler, but the client has asked for no upgrade.
    NotAsked,
    /// The app has set a handler, and has answered with this status, which is 300 or more.
    Status(i64),
    /// The app's response accepts the upgrade, but the env has no handler.
    NoHandler,
}

impl Declined {
    /// Logs the reason, as info: always if debug lines are logged, otherwise once a minute for each reason.
    pub fn log(self, line: RequestLine<'_>) {
        static NOT_ASKED: LogThrottle = LogThrottle::once_a_minute();
        static STATUS: LogThrottle = LogThrottle::once_a_minute();
        static NO_HANDLER: LogThrottle = LogThrottle::once_a_minute();

        if !log::log_enabled!(log::Level::Info) {
            return;
        }
        let seldom = match self {
            Declined::NotAsked => &NOT_ASKED,
            Declined::Status(_) => &STATUS,
            Declined::NoHandler => &NO_HANDLER,
        };
        let always = log::log_enabled!(log::Level::Debug);
        let Some(more) = (if always { Some(HeldBack::default()) } else { seldom.allows() }) else { return };
        match self {
            Declined::NotAsked => log::info!(
                "{line}: the handler in env['rack.upgrade'] was not used, because the client did not ask for an \
                 upgrade: env['rack.upgrade?'] is nil{more}"
            ),
            Declined::Status(404) => log::info!(
                "{line}: the handler in env['rack.upgrade'] was not used, because the app answered 404. If a framework \
                 made a 404 of nil, return [200, {{}}, []]{more}"
            ),
            Declined::Status(status) => log::info!(
                "{line}: the handler in env['rack.upgrade'] was not used, because the app answered {status}: only a status \
                 below 300 accepts{more}"
            ),
            Declined::NoHandler => log::info!(
                "{line}: the client asked for an upgrade and got an empty response, because there is no handler in \
                 env['rack.upgrade'] (middleware that copies env loses it){more}"
            ),
        }
    }
}
