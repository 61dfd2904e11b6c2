//! The rules of the app's channels, for the hub.

use super::super::protocol::{Frame, PIECE, Rule};
use crate::channel::Policy;

/// The rules of the app, in the order in which they were set.
#[derive(Debug, Default)]
pub(super) struct Rules {
    all: Vec<(String, Policy)>,
    /// How many of them were sent over this connection.
    sent: usize,
    /// All rules are known that the app sets while it is loaded. Before, the hub is told none: it would forget what the
    /// rules of the older code keep.
    loaded: bool,
    /// The hub was told of this generation.
    told: bool,
}

impl Rules {
    /// The app has set a rule. It replaces one for the same glob.
    pub(super) fn define(&mut self, glob: String, policy: Policy) {
        let Rules { all, sent, .. } = self;
        if let Some(old) = all.iter().position(|(other, _)| *other == glob) {
            all.remove(old);
            *sent -= usize::from(old < *sent);
        }
        all.push((glob, policy));
    }

    /// The app is loaded.
    pub(super) fn loaded(&mut self) {
        self.loaded = true;
    }

    /// The next hub knows none.
    pub(super) fn disconnected(&mut self) {
        (self.sent, self.told) = (0, false);
    }

    /// Appends a frame with rules that the hub does not know. Returns false if there are none.
    pub(super) fn write(&mut self, generation: u32, out: &mut Vec<u8>) -> bool {
        let Rules { all, sent, loaded, told } = self;
        if !*loaded || *sent == all.len() && *told {
            return false;
        }
        let mut size = 0;
        let rules = all[*sent..].iter().map_while(|(glob, policy)| {
            let fits = size < PIECE;
            size += glob.len() + 14;
            fits.then(|| Rule::new(glob, policy))
        });
        let rules: Vec<_> = rules.collect();
        *sent += rules.len();
        *told = true;
        Frame::Rules { generation, rules }.encode(out);
        true
    }
}
