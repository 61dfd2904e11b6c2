//! A table with small numbers as keys, which needs no hashing.

/// A table whose numbers are used again. It frees memory at its end, and all of it once it is empty.
#[derive(Debug)]
pub(super) struct Slab<T> {
    /// Boxed: a vacant place costs 8 bytes, and growing moves no contents.
    places: Vec<Option<Box<T>>>,
    /// Vacant places; those beyond the end are stale.
    vacant: Vec<u32>,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab { places: Vec::new(), vacant: Vec::new(), len: 0 }
    }
}

impl<T> Slab<T> {
    /// Takes a place.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        let value = Some(Box::new(value));
        while let Some(place) = self.vacant.pop() {
            if let Some(vacant @ None) = self.places.get_mut(place as usize) {
                *vacant = value;
                return place;
            }
        }
        self.places.push(value);
        (self.places.len() - 1) as u32
    }

    /// Leaves a place.
    pub(super) fn remove(&mut self, place: u32) -> Option<T> {
        let value = self.places.get_mut(place as usize)?.take()?;
        self.len -= 1;
        self.vacant.push(place);
        while let Some(None) = self.places.last() {
            self.places.pop();
        }
        if self.len == 0 {
            *self = Slab::default();
        } else if self.places.capacity() > 64 && self.places.len() < self.places.capacity() / 4 {
            self.places.shrink_to(self.places.len() * 2);
            let end = self.places.len() as u32;
            self.vacant.retain(|place| *place < end);
            self.vacant.shrink_to_fit();
        }
        Some(*value)
    }

    pub(super) fn get(&self, place: u32) -> Option<&T> {
        self.places.get(place as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.places.get_mut(place as usize)?.as_deref_mut()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// One beyond the highest place ever to look at.
    pub(super) fn end(&self) -> u32 {
        self.places.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in proptest::collection::vec(any::<(bool, u8)>(), 0..400)) {
            let mut slab = Slab::default();
            let mut map = HashMap::new();
            for (step, (insert, pick)) in steps.into_iter().enumerate() {
                let chosen = map.keys().nth(usize::from(pick) % map.len().max(1)).copied();
                match chosen {
                    Some(place) if !insert => prop_assert_eq!(slab.remove(place), map.remove(&place)),
                    _ => prop_assert_eq!(map.insert(slab.insert(step), step), None),
                }
                prop_assert_eq!(slab.len(), map.len());
                prop_assert!(map.iter().all(|(place, value)| slab.get(*place) == Some(value)));
                prop_assert!(slab.end() as usize >= map.len() && slab.get(slab.end()).is_none());
            }
        }
    }

    #[test]
    fn gives_memory_back() {
        let mut slab = Slab::default();
        for number in 0..100_000 {
            slab.insert(number);
        }
        for place in (10..100_000).rev() {
            slab.remove(place);
        }
        assert_eq!(slab.len(), 10);
        assert!(slab.places.capacity() < 100 && slab.vacant.capacity() < 100);
        assert_eq!(slab.get(9), Some(&9));
    }
}
