//! The id at the end of each answer, with which a client continues its session.

use std::fmt;
use std::str::FromStr;

use crate::channel::{Cursor, Since};

/// Names a session, and the process that has it. A client that has the token can continue the session, if the app accepts
/// the poll. So a token must be as hard to guess as a session cookie.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Token {
    /// See [`crate::channel::Engine::process`].
    process: u32,
    secret: u128,
}

/// Hexadecimal digits of the secret.
const DIGITS: usize = 32;

/// Hexadecimal digits of a process's number, which precedes the secret if it is not 0.
const PROCESS_DIGITS: usize = 5;

impl Token {
    /// A random token of this process. `None` if the system gives no random numbers.
    pub(super) fn draw(process: u32) -> Option<Self> {
        let mut bytes = [0; size_of::<u128>()];
        match getrandom::fill(&mut bytes) {
            Ok(()) => Some(Token { process, secret: u128::from_ne_bytes(bytes) }),
            Err(error) => {
                log::error!("a long poll gets no session: {error}");
                None
            }
        }
    }
}

impl Token {
    /// The number of the process that has the session; 0 if that is the only one.
    pub(super) fn process(self) -> u32 {
        self.process
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.process > 0 {
            write!(f, "{:0PROCESS_DIGITS$x}", self.process)?;
        }
        write!(f, "{:0DIGITS$x}", self.secret)
    }
}

impl FromStr for Token {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(());
        }
        let (process, secret) = match text.len() {
            DIGITS => (0, text),
            length if length == PROCESS_DIGITS + DIGITS => {
                let (process, secret) = text.split_at(PROCESS_DIGITS);
                (u32::from_str_radix(process, 16).map_err(|_| ())?, secret)
            }
            _ => return Err(()),
        };
        Ok(Token { process, secret: u128::from_str_radix(secret, 16).map_err(|_| ())? })
    }
}

impl fmt::Debug for Token {
    /// Does not show the token, because logs must not contain it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// `<cursor>.<token>.<number>`: the client's cursor, its session, and the number of the newest answer that it has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub(super) cursor: Cursor,
    pub(super) token: Token,
    pub(super) number: u64,
}

impl Ticket {
    /// Reads what a client sends as its last event's id.
    pub fn parse(id: &str) -> Option<Self> {
        let (cursor, rest) = id.split_once('.')?;
        let (token, number) = rest.split_once('.')?;
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Ticket { cursor: cursor.parse().ok()?, token: token.parse().ok()?, number: number.parse().ok()? })
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.cursor, self.token, self.number)
    }
}

/// The cursor in an id, without the session's token and the answer's number. Clients send the id of a poll over other
/// transports, too.
pub fn without_session(id: &str) -> &str {
    match id.split_once('.') {
        Some((cursor, _)) if Ticket::parse(id).is_some() => cursor,
        _ => id,
    }
}

/// Where a client with this last event's id starts.
pub fn since(id: Option<&str>) -> Since {
    Since::parse(id.map(without_session))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn what_is_none() {
        let short = &TOKEN[1..];
        for id in [
            "ab-7".to_owned(),
            format!("ab-7.{TOKEN}"),
            format!("ab-7.{TOKEN}."),
            format!("ab-7.{TOKEN}.+1"),
            format!("ab-7.{TOKEN}.1.2"),
            format!("ab-7.{TOKEN}.99999999999999999999"),
            format!("ab-7.{short}.1"),
            format!("ab-7.+{short}.1"),
            format!("ab7.{TOKEN}.1"),
            format!("ab-7\n.{TOKEN}.1"),
        ] {
            assert_eq!(Ticket::parse(&id), None, "{id}");
            assert_eq!(without_session(&id), id);
        }
    }

    #[test]
    fn it_holds_a_cursor() {
        let id = format!("ab-7.{TOKEN}.1");
        assert_eq!(Ticket::parse(&id).unwrap().to_string(), id);
        assert_eq!(without_session(&id), "ab-7");
        assert_eq!(since(Some(&id)), Since::parse(Some("ab-7")));
        assert_eq!(since(Some("1.2")), Since::Unreadable);
        assert_eq!(since(None), Since::Now);
    }

    #[test]
    fn tokens_differ_and_do_not_show() {
        assert_ne!(Token::draw(0).unwrap(), Token::draw(0).unwrap());
        assert_eq!(format!("{:?}", Token::draw(0).unwrap()), "Token");
    }

    proptest! {
        #[test]
        fn survives_text(epoch: u64, seq: u64, process in 0u32..1 << 20, secret: u128, number: u64) {
            let ticket = Ticket { cursor: Cursor { epoch: epoch.into(), seq }, token: Token { process, secret }, number };
            prop_assert_eq!(Ticket::parse(&ticket.to_string()), Some(ticket));
        }

        #[test]
        fn whatever_a_client_sends(text in ".{0,80}") {
            Ticket::parse(&text);
        }
    }
}
