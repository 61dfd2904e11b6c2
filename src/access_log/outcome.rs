//! What became of a request, for its line.

use http::StatusCode;

/// What became of a request.
#[derive(Debug, Clone, Default)]
pub struct RequestOutcome {
    /// `None`: no response, or one that the server does not know of, as after a hijack.
    pub status: Option<StatusCode>,
    /// Bytes of the body that were sent.
    pub bytes: u64,
    /// The body was not sent to its end.
    pub cut: bool,
    /// What the connection has become: `websocket` or another name.
    pub upgrade: Option<&'static str>,
    /// What went over a push stream. Set at its end.
    pub closed: Option<Traffic>,
}

/// What went over a push stream.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// The status with which a WebSocket was closed.
    pub code: Option<u16>,
    /// Messages received.
    pub messages_in: u64,
    /// Writes of the app that the socket has taken.
    pub messages_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes that the socket has taken.
    pub bytes_out: u64,
}
