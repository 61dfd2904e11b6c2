//! What a batch of bytes for a DATA frame tells its reader, and its stream.

use super::*;
use proptest::prelude::*;

struct Nothing;

impl H2Connection for Nothing {
    fn is_about_to_move(&self) -> bool {
        false
    }

    fn unacknowledged(&self) -> Option<u64> {
        None
    }

    fn watch(&self, _: Unsent) {}
}

fn batch(pieces: &[Vec<u8>]) -> FrameBatch {
    let mut batch = FrameBatch::default();
    for piece in pieces {
        batch.push(Bytes::copy_from_slice(piece));
    }
    batch
}

proptest! {
    #[test]
    fn a_batch_reads_as_its_pieces_in_a_row(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..20),
        steps in proptest::collection::vec(0usize..50, 0..20),
    ) {
        let all = pieces.concat();
        let (mut batch, mut at) = (batch(&pieces), 0);
        for step in steps {
            prop_assert_eq!(batch.remaining(), all.len() - at);
            prop_assert_eq!(batch.chunk().is_empty(), at == all.len());
            let mut slices = [IoSlice::new(&[]); 32];
            let filled = batch.chunks_vectored(&mut slices);
            let seen: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
            prop_assert_eq!(&seen[..], &all[at..]);
            let step = step.min(batch.remaining());
            batch.advance(step);
            at += step;
        }
        prop_assert_eq!(batch.copy_to_bytes(batch.remaining()), &all[at..]);
    }
}

#[test]
fn what_a_connection_drops_counts_as_taken() {
    let below = Below::new(Arc::new(Nothing));
    below.untaken.store(7, Ordering::Relaxed);
    let mut batch = batch(&[b"ab".to_vec(), b"cde".to_vec()]);
    batch.below = Some(Arc::clone(&below));
    batch.advance(3);
    assert_eq!(below.untaken.load(Ordering::Relaxed), 4);
    drop(batch);
    assert_eq!(below.untaken.load(Ordering::Relaxed), 2);
}
