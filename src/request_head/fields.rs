//! Where the header fields of a head are: looking them up, changing them.

/// Where a field's name and value are in the bytes of a head.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    name: u32,
    name_length: u32,
    value: u32,
    value_length: u32,
}

/// Length of a [`Span`] that is written as bytes.
pub(super) const SPAN: usize = 16;

impl Span {
    /// Of a name and a value that begin at these places and have these lengths.
    pub(super) fn new((name, name_length): (usize, usize), (value, value_length): (usize, usize)) -> Self {
        Span {
            name: name as u32,
            name_length: name_length as u32,
            value: value as u32,
            value_length: value_length as u32,
        }
    }

    /// Appends `name` and `value` to `bytes`.
    pub(super) fn put(name: &[u8], value: &[u8], bytes: &mut Vec<u8>) -> Self {
        let at = bytes.len();
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(value);
        Span::new((at, name.len()), (at + name.len(), value.len()))
    }

    pub(super) fn name(self, bytes: &[u8]) -> &[u8] {
        part(bytes, self.name, self.name_length)
    }

    pub(super) fn value(self, bytes: &[u8]) -> &[u8] {
        part(bytes, self.value, self.value_length)
    }

    pub(super) fn is(self, name: &[u8], bytes: &[u8]) -> bool {
        self.name_length as usize == name.len() && self.name(bytes) == name
    }

    fn to_bytes(self) -> [u8; SPAN] {
        let words = [self.name, self.name_length, self.value, self.value_length].map(u32::to_ne_bytes);
        let mut bytes = [0; SPAN];
        bytes.copy_from_slice(words.as_flattened());
        bytes
    }

    fn from_bytes([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]: [u8; SPAN]) -> Self {
        let word = u32::from_ne_bytes;
        Span {
            name: word([a, b, c, d]),
            name_length: word([e, f, g, h]),
            value: word([i, j, k, l]),
            value_length: word([m, n, o, p]),
        }
    }
}

fn part(bytes: &[u8], at: u32, length: u32) -> &[u8] {
    bytes.get(at as usize..at as usize + length as usize).unwrap_or_default()
}

/// The spans that are written in `bytes`, from `from` on.
pub(super) fn spans(bytes: &[u8], from: u32) -> impl Iterator<Item = Span> + Clone {
    let (spans, _) = bytes.get(from as usize..).unwrap_or_default().as_chunks();
    spans.iter().map(|span| Span::from_bytes(*span))
}

/// A bit for a name. If it is not among the bits of the names of a head, the head has no field with this name.
pub(super) fn bit(name: &[u8]) -> u64 {
    1 << ((name.len() + 7 * usize::from(name.first().copied().unwrap_or_default())) % 64)
}

/// The spans of the fields with this name.
pub(super) fn named(bytes: &[u8], from: u32, name: &[u8]) -> impl Iterator<Item = Span> {
    spans(bytes, from).filter(move |span| span.is(name, bytes))
}

/// Writes the spans behind the bytes they refer to.
pub(super) fn put(bytes: &mut Vec<u8>, spans: &[Span]) {
    spans.iter().for_each(|span| bytes.extend_from_slice(&span.to_bytes()));
}

/// Puts the spans of fields with the same name behind the first of them. Otherwise their order stays.
#[cold]
pub(super) fn group(bytes: &mut Vec<u8>, from: u32) {
    let spans: Vec<_> = spans(bytes, from).collect();
    let mut by_name: Vec<_> = (0..spans.len()).collect();
    // Both sorts are stable.
    by_name.sort_by_key(|index| spans[*index].name(bytes));
    let mut places = vec![0; spans.len()];
    for same in by_name.chunk_by(|one, other| spans[*one].name(bytes) == spans[*other].name(bytes)) {
        same.iter().for_each(|index| places[*index] = same[0]);
    }
    let mut grouped: Vec<_> = (0..spans.len()).collect();
    grouped.sort_by_key(|index| places[*index]);
    let grouped: Vec<_> = grouped.into_iter().map(|index| spans[index]).collect();
    bytes.truncate(from as usize);
    put(bytes, &grouped);
}
