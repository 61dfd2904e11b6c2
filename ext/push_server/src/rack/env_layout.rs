//! Layouts: envs that have the same keys have them in the same places.
//!
//! A client repeats the names of its headers, so most envs have the keys of an earlier one. Ruby hashes a key for each
//! entry that it inserts, which would be the largest part of making an env. A layout is a Hash with all keys of such envs: first
//! those whose values differ, with nil as their values, then the entries of the listener's template. An env is a copy of a layout,
//! in which the values of the first entries are replaced. A layout has no value of a request, so none can reach another request.
//!
//! The layouts are in a direct-mapped cache: the hash of the keys says which place a layout may have.

use magnus::gc::Marker;
use magnus::rb_sys::{AsRawValue, FromRawValue};
use magnus::{RHash, Ruby, Value};
use rb_sys::VALUE;

use crate::support::cell::GvlCell;
use crate::support::raw::{Entries, Guarded};

/// How many layouts there may be.
const PLACES: usize = 64;
/// A layout is made when this many requests have had its keys, and no other keys without a layout came to its place meanwhile. To
/// make one costs what it saves in three requests.
const REQUESTS_BEFORE: u32 = 4;

/// The layouts of a server, each in the place that the hash of its keys gives it.
pub struct Layouts(GvlCell<[Place; PLACES]>);

#[derive(Default)]
struct Place {
    layout: Option<Layout>,
    /// The hash of the newest keys that came to this place and are not those of `layout`, and how many requests in a row had them.
    seen: (usize, u32),
}

struct Layout {
    template: RHash,
    /// The keys whose values differ. They are interned, so the same key is always the same object.
    keys: Box<[VALUE]>,
    /// Frozen.
    hash: RHash,
}

/// What a place has for some keys.
enum Found {
    Layout(RHash),
    /// None, and none is to be made yet.
    Nothing,
    /// None yet, but one is to be made.
    Due,
}

impl Default for Layouts {
    fn default() -> Self {
        Layouts(GvlCell::new([const { Place { layout: None, seen: (0, 0) } }; PLACES]))
    }
}

impl Layouts {
    /// A copy of `template`, which must be frozen, with `entries`. If a key is there twice, the later value counts.
    pub fn env(&self, ruby: &Ruby, raw: &Guarded, template: RHash, entries: &Entries) -> Value {
        let layout = entries.keys().and_then(|keys| self.layout(ruby, raw, template, keys));
        let env = raw.dup(layout.unwrap_or(template));
        if layout.is_some() {
            raw.replace_first(env, entries);
        } else {
            raw.set_all(env, entries);
        }
        env
    }

    fn layout(&self, ruby: &Ruby, raw: &Guarded, template: RHash, keys: &[VALUE]) -> Option<RHash> {
        let hash = hash_of(template, keys);
        let place = hash % PLACES;
        match self.0.with(ruby, |places| places[place].look_up(template, keys, hash)) {
            Found::Layout(layout) => Some(layout),
            Found::Nothing => None,
            Found::Due => {
                let made = make(raw, template, keys)?;
                // Nothing raises any more, so the copy of the keys cannot be lost.
                let layout = Layout { template, keys: keys.into(), hash: made };
                let replaced = self.0.with(ruby, |places| places[place].layout.replace(layout));
                drop(replaced);
                Some(made)
            }
        }
    }

    /// Called by the garbage collector.
    pub fn mark(&self, marker: &Marker) {
        self.0.while_marking(|places| {
            for layout in places.iter().filter_map(|place| place.layout.as_ref()) {
                marker.mark(layout.template);
                marker.mark(layout.hash);
                // SAFETY: they were keys of an env, and marking has kept them since.
                layout.keys.iter().for_each(|key| marker.mark(unsafe { Value::from_raw(*key) }));
            }
        });
    }
}

impl Place {
    fn look_up(&mut self, template: RHash, keys: &[VALUE], hash: usize) -> Found {
        let same = |layout: &&Layout| *layout.keys == *keys && layout.template.as_raw() == template.as_raw();
        if let Some(layout) = self.layout.as_ref().filter(same) {
            return Found::Layout(layout.hash);
        }
        let (last, times) = self.seen;
        let times = if last == hash { times + 1 } else { 1 };
        self.seen = (hash, times % REQUESTS_BEFORE);
        if times == REQUESTS_BEFORE { Found::Due } else { Found::Nothing }
    }
}

/// A layout, frozen. `None` if a key is there twice.
fn make(raw: &Guarded, template: RHash, keys: &[VALUE]) -> Option<RHash> {
    let hash = raw.hash();
    for key in keys {
        // SAFETY: a key on the stack.
        raw.set(hash, unsafe { Value::from_raw(*key) }, raw.nil());
    }
    if raw.size(hash) != keys.len() {
        return None;
    }
    raw.merge(hash, template);
    raw.freeze(hash)
}

/// A hash of the identities of these objects, not of their content.
fn hash_of(template: RHash, keys: &[VALUE]) -> usize {
    let mix = |hash: usize, value: VALUE| {
        (hash.rotate_left(5) ^ value as usize).wrapping_mul(0x517c_c1b7_2722_0a95_u64 as usize)
    };
    let hash = keys.iter().fold(mix(0, template.as_raw()), |hash, key| mix(hash, *key));
    // The upper half depends on all bits.
    hash >> (usize::BITS / 2)
}
