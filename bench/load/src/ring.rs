//! Numbered messages, made before the clock starts.

/// Messages of one length. A connection sends one after the other, and after the last the first again. There are several
/// times as many as are ever in flight. So a message that is lost, repeated or out of order is noticed.
#[derive(Debug)]
pub struct Ring {
    bytes: Vec<u8>,
    length: usize,
    slots: usize,
}

impl Ring {
    /// How many messages there are when at most `in_flight` of them are on their way.
    pub fn slots(in_flight: usize) -> usize {
        (4 * in_flight).next_power_of_two().max(8)
    }

    /// The messages that `make` makes for the numbers from 0 on; all of one length.
    pub fn new(in_flight: usize, make: impl Fn(usize) -> Vec<u8>) -> Self {
        let slots = Ring::slots(in_flight);
        // The first ones are repeated behind the last, so that any run of messages is in one piece.
        let bytes: Vec<u8> = (0..slots + in_flight).flat_map(|number| make(number % slots)).collect();
        Ring { length: bytes.len() / (slots + in_flight), bytes, slots }
    }

    /// Message `number`.
    pub fn get(&self, number: u64) -> &[u8] {
        self.run(number, 1)
    }

    /// `count` messages from `number` on. `count` is at most the number in flight.
    pub fn run(&self, number: u64, count: usize) -> &[u8] {
        let start = (number as usize & (self.slots - 1)) * self.length;
        &self.bytes[start..start + count * self.length]
    }
}

/// The text of message `number` on connection `index`: it begins with both, and has `size` bytes.
pub fn text(index: usize, number: usize, size: usize) -> Vec<u8> {
    let mut text = format!("{index:05} {number:05} ").into_bytes();
    text.extend((b'a'..=b'z').cycle().take(size.saturating_sub(text.len())));
    text.truncate(size);
    text
}

/// A message of a shop as JSON: a few orders. It begins with both numbers, and has `size` bytes, the last of which may be
/// spaces.
pub fn json(index: usize, number: usize, size: usize) -> Vec<u8> {
    const THINGS: [&str; 8] = ["desk", "chair", "lamp", "shelf", "carpet", "mirror", "sofa", "clock"];
    const STATES: [&str; 4] = ["new", "paid", "packed", "shipped"];
    let mut json = format!("{{\"from\":{index},\"number\":{number},\"orders\":[");
    // Numbers that look random, and are the same in each run.
    let mut seed = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut random = |most: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % most
    };
    loop {
        let (thing, state) = (THINGS[random(8) as usize], STATES[random(4) as usize]);
        let (id, count, price, cents) = (random(900_000) + 100_000, random(9) + 1, random(900) + 10, random(100));
        let (hour, minute, second) = (random(24), random(60), random(60));
        let order = format!(
            "{{\"id\":{id},\"product\":\"{thing}\",\"quantity\":{count},\"price\":\"{price}.{cents:02}\",\"state\":\"{state}\",\
             \"updated_at\":\"2026-11-22T{hour:02}:{minute:02}:{second:02}Z\"}}"
        );
        if json.len() + order.len() + 3 > size {
            break;
        }
        json.push_str(if json.ends_with('[') { "" } else { "," });
        json.push_str(&order);
    }
    json.push_str("]}");
    let mut json = json.into_bytes();
    json.resize(size, b' ');
    json
}

/// The least size of a [`text`] that has both of its numbers whole.
pub const LEAST_TEXT: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_its_size_and_differs() {
        let (one, other) = (json(0, 1, 1000), json(0, 2, 1000));
        assert_eq!((one.len(), other.len()), (1000, 1000));
        assert!(one != other && one.starts_with(b"{\"from\":0,\"number\":1,\"orders\":[{\"id\":"));
        assert!(one.trim_ascii_end().ends_with(b"\"}]}") && one.trim_ascii_end().len() > 850);
    }

    #[test]
    fn the_first_message_follows_the_last() {
        let ring = Ring::new(2, |number| text(3, number, 16));
        assert_eq!(ring.get(0), b"00003 00000 abcd");
        assert_eq!(ring.get(9), b"00003 00001 abcd");
        assert_eq!(ring.run(7, 2), b"00003 00007 abcd00003 00000 abcd");
    }
}
