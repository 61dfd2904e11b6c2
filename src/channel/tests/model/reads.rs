//! What a client must get when it reads, and when its socket takes nothing.

use super::*;

impl World {
    /// Reads once. Each message that the client must get comes in order, or is announced as missing.
    pub(super) fn read(&mut self, client: usize, blocked: bool) {
        self.channels.deliver();
        let Some(own) = &mut self.connections[client] else { return };
        own.skips |= blocked;
        let known = own.woken.0.load(Ordering::SeqCst);
        let mut text = String::new();
        let batch = own
            .reader
            .read(Shape::EventStream.into(), blocked, |bytes| text.push_str(std::str::from_utf8(&bytes).unwrap()));
        if batch.overrun {
            assert!(!self.exact && text.is_empty());
            self.disconnect(client);
            return;
        }
        if !own.open {
            assert!(text.is_empty());
            // As a connection does: it looks again when it is woken again.
            own.woken.0.store(false, Ordering::SeqCst);
            return;
        }
        assert!(known || (batch.messages == 0 && batch.notices.is_empty()), "not woken for {text}");
        own.woken.0.store(batch.more, Ordering::SeqCst);
        for notice in &batch.notices {
            match notice {
                Notice::Open { recovered, .. } => assert_eq!(*recovered, own.recovered),
                Notice::Drop { channel, count } => {
                    let at = NAMES.iter().position(|name| **name == **channel).unwrap();
                    *own.dropped.entry(at).or_default() += count;
                }
                Notice::Gap { .. } | Notice::Here { .. } => {}
            }
        }
        let (messages, more) = (batch.messages, batch.more);
        assert_eq!(self.digest(client, &text), messages);
        let Some(own) = &mut self.connections[client] else { return };
        assert!(messages <= 4);
        if !more {
            // Skipped, and nothing newer for this client came behind it.
            while let Some(next) = own.owed.keys().next().copied() {
                assert!(own.may_skip(next, &self.published), "held back: {:?}", own.owed);
                own.owed.remove(&next);
            }
            assert_eq!(own.reader.lag(), crate::channel::Lag::default());
            assert_eq!(own.reader.cursor().seq, self.published.len() as u64);
        }
    }

    /// A client gets blocks. Each message that it must get comes in order, or is announced as missing. Returns how many
    /// messages there are.
    pub(super) fn digest(&mut self, client: usize, text: &str) -> usize {
        let Some(own) = &mut self.connections[client] else { return 0 };
        let mut delivered = 0;
        for block in text.split_terminator("\n\n") {
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            let id = field("id: ").map(|id| id.parse::<Cursor>().unwrap());
            if let Some(id) = id {
                assert!(own.cursor.is_none_or(|old| old.seq < id.seq), "ids ran backwards");
                own.cursor = Some(id);
                self.clients[client].cursor = Some(id);
            }
            if field("event: ").is_some() {
                continue;
            }
            let Some(data) = field("data: ") else {
                let passed = &self.published[id.unwrap().seq as usize - 1];
                assert!(passed.stored && passed.except == Some(own.reader.id()));
                continue;
            };
            let seq: u64 = data.parse().unwrap();
            assert!(id.is_none_or(|id| id.seq == seq));
            delivered += 1;
            self.clients[client].got.insert(seq);
            while let Some(next) = own.owed.keys().next().copied().filter(|next| *next < seq) {
                assert!(own.may_skip(next, &self.published), "{next} was skipped, {seq} came");
                own.owed.remove(&next);
            }
            assert!(own.owed.remove(&seq).is_some(), "{seq} was not owed");
        }
        delivered
    }

    pub(super) fn stall(&mut self, client: usize) {
        self.channels.deliver();
        let Some(own) = &mut self.connections[client] else { return };
        if own.open && own.reader.lag().bytes > 20 {
            let kept = own.reader.stalled();
            let patient = |target: &usize| is_pattern(*target) || matches!(target, 0 | 3 | 4);
            assert!(kept || own.subscribed.iter().any(patient));
            if kept {
                // The ticker has skipped; what else has is announced.
                self.read(client, true);
            } else {
                self.disconnect(client);
            }
        }
    }
}
