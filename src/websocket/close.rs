//! Close codes and reasons, RFC 6455 section 7.4.

use thiserror::Error;

/// How a WebSocket connection ended: code and reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseStatus {
    /// The code; 1005 and 1006 are never on the wire.
    pub code: u16,
    /// The reason, at most 123 bytes on the wire.
    pub reason: String,
}

/// Codes this server uses itself.
pub mod code {
    /// The purpose is fulfilled.
    pub const NORMAL: u16 = 1000;
    /// The server is going down.
    pub const GOING_AWAY: u16 = 1001;
    /// The peer broke the protocol.
    pub const PROTOCOL: u16 = 1002;
    /// A Close frame had no code.
    pub const NO_STATUS: u16 = 1005;
    /// There was no Close frame.
    pub const ABNORMAL: u16 = 1006;
    /// A text message was not UTF-8.
    pub const INVALID_DATA: u16 = 1007;
    /// The client may not be here.
    pub const POLICY: u16 = 1008;
    /// A message was too big.
    pub const TOO_BIG: u16 = 1009;
    /// The server restarts: a client that reconnects is served.
    pub const RESTART: u16 = 1012;
    /// The client took too long to take what was sent: try again later (IANA registry).
    pub const TRY_AGAIN: u16 = 1013;
}

/// The most bytes a reason can have: a control frame holds 125, the code takes two.
pub const MAX_REASON: usize = 123;

/// Why a code or reason cannot be sent.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CloseError {
    /// The code may not be used in a Close frame by an endpoint.
    #[error("close code {0} cannot be sent; use 1000, 1001, 1003, 1007 to 1014 or 3000 to 4999")]
    Code(i64),
    /// The reason does not fit.
    #[error("a close reason has at most 123 bytes, this one has {0}")]
    Reason(usize),
}

impl CloseStatus {
    /// A status of the server's own.
    pub fn new(code: u16, reason: &str) -> Self {
        CloseStatus { code, reason: reason.to_owned() }
    }

    /// A status that an app asks for, checked against RFC 6455 section 7.4. The codes 1012 to 1014 are from
    /// IANA's registry; some clients reconnect only after these.
    pub fn checked(code: i64, reason: &str) -> Result<Self, CloseError> {
        let allowed = matches!(code, 1000 | 1001 | 1003 | 1007..=1014 | 3000..=4999);
        if !allowed {
            return Err(CloseError::Code(code));
        }
        if reason.len() > MAX_REASON {
            return Err(CloseError::Reason(reason.len()));
        }
        Ok(CloseStatus::new(code as u16, reason))
    }

    /// The connection was lost without a Close frame.
    pub fn abnormal() -> Self {
        CloseStatus::new(code::ABNORMAL, "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_an_endpoint_may_send() {
        for code in [1000, 1001, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
            assert_eq!(CloseStatus::checked(code, "").unwrap().code, code as u16);
        }
        for code in [-1, 0, 999, 1002, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 70_000] {
            assert_eq!(CloseStatus::checked(code, ""), Err(CloseError::Code(code)));
        }
        assert!(CloseStatus::checked(1000, &"x".repeat(123)).is_ok());
        assert_eq!(CloseStatus::checked(1000, &"x".repeat(124)), Err(CloseError::Reason(124)));
    }
}
