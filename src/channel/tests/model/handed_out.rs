//! What a client must get from a delivery that does not wake it.

use super::*;
use crate::channel::{Encoding, Outlets};

struct Parking<'a> {
    connections: &'a [Option<Connection>; CLIENTS],
    given: Vec<(usize, usize)>,
}

impl Outlets for Parking<'_> {
    fn encoding(&mut self, outlet: u32, reader: u32) -> Option<Encoding> {
        let own = self.connections[outlet as usize].as_ref().unwrap();
        assert_eq!(own.reader.number(), reader);
        own.parked.then_some(Shape::EventStream.into())
    }

    fn give(&mut self, outlet: u32, batch: usize) {
        self.given.push((outlet as usize, batch));
    }
}

impl World {
    /// Clients that are parked get what a read would give to them, and are woken if that is not the same. Others find what is
    /// new when they read.
    pub(super) fn hand_out(&mut self, most: usize) {
        let mut parking = Parking { connections: &self.connections, given: Vec::new() };
        let mut batches = Vec::new();
        self.channels.hand_out(&mut parking, &mut batches, most);
        let given = parking.given;
        assert!(given.len() <= most);
        for (client, batch) in given {
            let own = self.connections[client].as_ref().unwrap();
            assert!(own.open && !own.woken.0.load(Ordering::SeqCst));
            let text = batches[batch].frames().concat();
            let messages = self.digest(client, std::str::from_utf8(&text).unwrap());
            assert_eq!(messages, batches[batch].messages());
            assert!((1..=4).contains(&messages));
        }
    }
}
