//! Session tickets that any process of the server accepts.

use std::sync::Arc;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey};
use rustls::server::ProducesTickets;

use crate::base::lock::Lock;
use crate::base::ticket_keys::{Key, LIFETIME, TicketKeys};

const NAME: usize = 16;

/// Makes and reads tickets: the key's name, a nonce, and the session, encrypted with AES-256-GCM.
///
/// A session that began where no client certificate was asked for must not be resumed where one is. So what the clients of the
/// configuration must show is authenticated with each ticket.
pub(super) struct Tickets {
    keys: Arc<TicketKeys>,
    /// What clients must show, authenticated with each ticket.
    context: Vec<u8>,
    known: Lock<Arc<Known>>,
}

/// The keys as they were read last.
struct Known {
    version: u64,
    /// The newest first.
    keys: Vec<([u8; NAME], LessSafeKey)>,
}

impl Tickets {
    pub(super) fn new(keys: Arc<TicketKeys>, context: Vec<u8>) -> Self {
        let known = Lock::new(Arc::new(Known::read(&keys)));
        Tickets { keys, context, known }
    }

    fn known(&self) -> Arc<Known> {
        let mut known = self.known.lock();
        if known.version != self.keys.version() {
            *known = Arc::new(Known::read(&self.keys));
        }
        Arc::clone(&known)
    }

    fn authenticated(&self, name: &[u8; NAME]) -> Aad<Vec<u8>> {
        Aad::from([&name[..], &self.context].concat())
    }
}

impl Known {
    fn read(keys: &TicketKeys) -> Self {
        let (version, keys) = keys.read();
        let usable =
            |Key { name, secret }| Some((name, LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &secret).ok()?)));
        Known { version, keys: keys.into_iter().filter_map(usable).collect() }
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        let known = self.known();
        // `None`, if there is no key yet: the client gets no ticket.
        let (name, key) = known.keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).ok()?;
        let mut ticket = Vec::with_capacity(NAME + NONCE_LEN + session.len() + MAX_TAG_LEN);
        ticket.extend_from_slice(session);
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), self.authenticated(name), &mut ticket)
            .ok()?;
        ticket.splice(..0, name.iter().chain(&nonce).copied());
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let known = self.known();
        let (_, key) = known.keys.iter().find(|(known, _)| known == name)?;
        let mut session = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = key.open_in_place(nonce, self.authenticated(name), &mut session).ok()?.len();
        session.truncate(length);
        Some(session)
    }
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tickets").field("keys", &self.keys).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> Arc<TicketKeys> {
        let keys = TicketKeys::anonymous().unwrap();
        keys.renew().unwrap();
        Arc::new(keys)
    }

    #[test]
    fn another_process_with_the_keys_reads_a_ticket() {
        let keys = keys();
        let [one, other] = [&keys, &keys].map(|keys| Tickets::new(Arc::clone(keys), b"none".to_vec()));
        let ticket = one.encrypt(b"a session").unwrap();
        assert_eq!(other.decrypt(&ticket).unwrap(), b"a session");
        assert_ne!(one.encrypt(b"a session").unwrap(), ticket);
        let stranger = Tickets::new(self::keys(), b"none".to_vec());
        assert_eq!(stranger.decrypt(&ticket), None);
    }

    #[test]
    fn a_session_without_a_client_certificate_is_not_resumed_where_one_is_asked_for() {
        let keys = keys();
        let [open, closed] = [b"none".to_vec(), b"force_peer".to_vec()].map(|it| Tickets::new(Arc::clone(&keys), it));
        assert_eq!(closed.decrypt(&open.encrypt(b"a session").unwrap()), None);
    }

    #[test]
    fn tickets_are_read_while_the_keys_change_until_the_lifetime_is_over() {
        let keys = Arc::new(TicketKeys::anonymous().unwrap());
        let tickets = Tickets::new(Arc::clone(&keys), Vec::new());
        let mut issued: Vec<(u64, Vec<u8>)> = Vec::new();
        for now in (1..10 * u64::from(LIFETIME)).step_by(1800) {
            keys.renew_at(now).unwrap();
            issued.push((now, tickets.encrypt(b"a session").unwrap()));
            for (made, ticket) in &issued {
                if now - made <= LIFETIME.into() {
                    assert_eq!(
                        tickets.decrypt(ticket).as_deref(),
                        Some(&b"a session"[..]),
                        "made at {made}, now {now}"
                    );
                } else if now - made > 2 * u64::from(LIFETIME) {
                    assert_eq!(tickets.decrypt(ticket), None, "made at {made}, now {now}");
                }
            }
        }
    }

    #[test]
    fn there_are_no_tickets_without_a_key_and_there_are_once_there_is_one() {
        let keys = Arc::new(TicketKeys::anonymous().unwrap());
        let tickets = Tickets::new(Arc::clone(&keys), Vec::new());
        assert_eq!(tickets.encrypt(b"a session"), None);
        keys.renew().unwrap();
        assert!(tickets.encrypt(b"a session").is_some());
    }

    proptest! {
        #[test]
        fn what_is_no_ticket_of_ours_is_none(bytes: Vec<u8>, flipped: prop::sample::Index) {
            let tickets = Tickets::new(keys(), Vec::new());
            prop_assert_eq!(tickets.decrypt(&bytes), None);
            let mut ticket = tickets.encrypt(&bytes).unwrap();
            prop_assert_eq!(tickets.decrypt(&ticket), Some(bytes));
            let at = flipped.index(ticket.len());
            ticket[at] ^= 1;
            prop_assert_eq!(tickets.decrypt(&ticket), None);
        }
    }
}
