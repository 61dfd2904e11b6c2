//! Why a request was not upgraded although its app has a handler for it: said in the log.

use push_core::seldom::Seldom;

use crate::request::Line;

/// Why there was no upgrade.
#[derive(Clone, Copy)]
pub enum Declined {
    /// The app set a handler, but the client asked for no upgrade.
    NotAsked,
    /// The app set a handler, and answered with this status, 300 or more.
    Status(i64),
    /// The app answered as one that accepts does, but the env has no handler.
    NoHandler,
}

impl Declined {
    /// Logs it at info level: at debug level always, otherwise once a minute for each reason.
    pub fn log(self, line: Line<'_>) {
        static NOT_ASKED: Seldom = Seldom::once_a_minute();
        static STATUS: Seldom = Seldom::once_a_minute();
        static NO_HANDLER: Seldom = Seldom::once_a_minute();

        if !log::log_enabled!(log::Level::Info) {
            return;
        }
        let seldom = match self {
            Declined::NotAsked => &NOT_ASKED,
            Declined::Status(_) => &STATUS,
            Declined::NoHandler => &NO_HANDLER,
        };
        let held_back = if log::log_enabled!(log::Level::Debug) { Some(0) } else { seldom.allows() };
        let Some(held_back) = held_back else { return };
        let more = if held_back > 0 { format!(" ({held_back} more since the last such line)") } else { String::new() };
        match self {
            Declined::NotAsked => log::info!(
                "{line}: the handler in env['rack.upgrade'] was not used, as the request asks for no upgrade: \
                 env['rack.upgrade?'] is nil{more}"
            ),
            Declined::Status(404) => log::info!(
                "{line}: the handler in env['rack.upgrade'] was not used, as the app answered 404. If a framework made \
                 that of nil, return [200, {{}}, []]{more}"
            ),
            Declined::Status(status) => log::info!(
                "{line}: the handler in env['rack.upgrade'] was not used, as the app answered {status}; a status below \
                 300 accepts{more}"
            ),
            Declined::NoHandler => log::info!(
                "{line}: could be upgraded, but got an empty response, and the server's env has no handler in \
                 env['rack.upgrade'] (a middleware that copies env loses it){more}"
            ),
        }
    }
}
