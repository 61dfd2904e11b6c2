//! Collects a request body: in memory if it is short, otherwise in a temporary file.
//!
//! The disk thread makes and writes the file. A body has at most one write in flight, and meanwhile one more block is
//! collected. So a body takes about 128 KiB of memory, however long it is and however slow the disk is.

use std::fs::File;
use std::future::{Future, poll_fn};
use std::io::{self, Seek, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::budget::{Budget, Reservation};
use crate::base::disk::{Disk, Lane, Running, Unavailable};

/// Bytes collected before they are written.
const BLOCK: usize = 64 * 1024;

/// Why a body could not be kept.
#[derive(Debug, Error)]
pub(super) enum SpoolError {
    /// The body would exceed `max_spooled_total`.
    #[error("max_spooled_total")]
    OverBudget,
    /// There is no disk thread to write it.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The file cannot be made or written.
    #[error(transparent)]
    File(#[from] io::Error),
}

/// A complete request body.
#[derive(Debug)]
pub enum RequestBody {
    /// In memory.
    Memory(Bytes),
    /// In an unlinked temporary file, positioned at its start.
    Spooled(Spooled),
}

impl RequestBody {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            RequestBody::Memory(bytes) => bytes.len() as u64,
            RequestBody::Spooled(spooled) => spooled.length(),
        }
    }

    /// No bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A request body in an unlinked temporary file. When it is dropped, the disk thread closes the file, since that can
/// take time.
#[derive(Debug)]
pub struct Spooled {
    /// `None` before it is made, and after [`Spooled::into_parts`].
    file: Option<File>,
    length: u64,
    /// `None` after [`Spooled::into_parts`].
    reservation: Option<Reservation>,
    disk: Arc<Disk>,
}

impl Spooled {
    /// The body's length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The file, positioned at its start, and its part of `max_spooled_total`, which must live as long as the file is
    /// open.
    ///
    /// # Errors
    /// If there is no file. That cannot happen: a body that was given to the app has one.
    pub fn into_parts(mut self) -> io::Result<(File, Reservation)> {
        match (self.file.take(), self.reservation.take()) {
            (Some(file), Some(reservation)) => Ok((file, reservation)),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Appends `blocks`; on the disk thread.
    fn append(mut self, blocks: [Bytes; 2]) -> io::Result<Self> {
        let file = match (&mut self.file, &self.reservation) {
            (Some(file), _) => file,
            (none, Some(reservation)) => none.insert(tempfile::tempfile_in(reservation.folder())?),
            (None, None) => return Err(io::ErrorKind::NotFound.into()),
        };
        for block in blocks {
            file.write_all(&block)?;
            self.length += block.len() as u64;
        }
        Ok(self)
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            let reservation = self.reservation.take();
            let close = move || {
                drop(file);
                drop(reservation);
            };
            // If there is no disk thread, it is closed here.
            let _ = self.disk.chore(close);
        }
    }
}

/// Collects one body.
#[derive(Debug)]
pub(super) struct Spool {
    disk: Arc<Disk>,
    budget: Arc<Budget>,
    memory: usize,
    length: u64,
    /// The first piece. Most bodies come in one piece, which is not copied.
    first: Bytes,
    /// What came after the first piece. Later: the next block.
    rest: BytesMut,
    file: Place,
}

#[derive(Debug)]
enum Place {
    Memory,
    File(Spooled),
    Writing(Running<io::Result<Spooled>>),
    /// A write has failed.
    Lost,
}

impl Spool {
    /// For a body. Up to `memory` bytes of it are kept in memory.
    pub(super) fn new(disk: &Arc<Disk>, budget: &Arc<Budget>, memory: usize) -> Self {
        Spool {
            disk: Arc::clone(disk),
            budget: Arc::clone(budget),
            memory,
            length: 0,
            first: Bytes::new(),
            rest: BytesMut::new(),
            file: Place::Memory,
        }
    }

    /// Bytes so far.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Adds data. [`Spool::poll_room`] must have been ready before.
    pub(super) fn add(&mut self, data: Bytes) -> Result<(), SpoolError> {
        self.length += data.len() as u64;
        if self.length == data.len() as u64 {
            self.first = data;
        } else {
            self.rest.extend_from_slice(&data);
        }
        let full = match self.file {
            Place::Memory => self.length > self.memory as u64,
            Place::File(_) => self.rest.len() >= BLOCK,
            Place::Writing(_) | Place::Lost => false,
        };
        if full { self.write() } else { Ok(()) }
    }

    /// Ready when more may be added. Until then the caller must not read the body. So the client has to wait, too.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SpoolError>> {
        if self.poll_written(cx)?.is_ready() && self.rest.len() >= BLOCK {
            self.write()?;
            // To be woken when it is written.
            let _ = self.poll_written(cx)?;
        }
        if self.rest.len() >= BLOCK { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    /// Ready when no write is in flight.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SpoolError>> {
        let Place::Writing(running) = &mut self.file else { return Poll::Ready(Ok(())) };
        let Poll::Ready(written) = Pin::new(running).poll(cx) else { return Poll::Pending };
        self.file = Place::Lost;
        self.file = Place::File(written??);
        Poll::Ready(Ok(()))
    }

    /// Begins to write all that is collected. No write may be in flight.
    fn write(&mut self) -> Result<(), SpoolError> {
        let mut spooled = match std::mem::replace(&mut self.file, Place::Lost) {
            Place::Memory => Spooled {
                file: None,
                length: 0,
                reservation: Some(self.budget.reserve()),
                disk: Arc::clone(&self.disk),
            },
            Place::File(spooled) => spooled,
            Place::Writing(_) | Place::Lost => return Err(Unavailable.into()),
        };
        let blocks = [std::mem::take(&mut self.first), std::mem::take(&mut self.rest).freeze()];
        let bytes = blocks.iter().map(|block| block.len() as u64).sum();
        if !spooled.reservation.as_mut().is_some_and(|reservation| reservation.grow(bytes)) {
            return Err(SpoolError::OverBudget);
        }
        self.file = Place::Writing(self.disk.run(Lane::Bodies, move || spooled.append(blocks)));
        Ok(())
    }

    /// The body is complete. If it is in a file, this waits until all of it is written.
    pub(super) async fn finish(mut self) -> Result<RequestBody, SpoolError> {
        poll_fn(|cx| self.poll_written(cx)).await?;
        if matches!(self.file, Place::File(_)) && !self.rest.is_empty() {
            self.write()?;
            poll_fn(|cx| self.poll_written(cx)).await?;
        }
        match self.file {
            Place::Memory if self.rest.is_empty() => Ok(RequestBody::Memory(self.first)),
            Place::Memory => {
                let mut whole = BytesMut::from(self.first);
                whole.unsplit(self.rest);
                Ok(RequestBody::Memory(whole.freeze()))
            }
            Place::File(mut spooled) => {
                // This does not touch the disk: it only sets the position of the open file.
                if let Some(file) = &mut spooled.file {
                    file.rewind()?;
                }
                Ok(RequestBody::Spooled(spooled))
            }
            Place::Writing(_) | Place::Lost => Err(Unavailable.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// Adds `pieces`, one after the other, as there is room.
    async fn spool(pieces: &[&[u8]], memory: usize, budget: &Arc<Budget>) -> Result<RequestBody, SpoolError> {
        let mut spool = Spool::new(&Arc::default(), budget, memory);
        for piece in pieces {
            poll_fn(|cx| spool.poll_room(cx)).await?;
            spool.add(Bytes::copy_from_slice(piece))?;
        }
        assert_eq!(spool.length(), pieces.iter().map(|piece| piece.len() as u64).sum::<u64>());
        spool.finish().await
    }

    /// Whether a body is in a file, and its bytes.
    async fn spooled(pieces: &[&[u8]], memory: usize) -> (bool, Vec<u8>) {
        let budget = Budget::new(u64::MAX);
        match spool(pieces, memory, &budget).await.unwrap() {
            RequestBody::Memory(bytes) => (false, bytes.to_vec()),
            RequestBody::Spooled(spooled) => {
                let length = spooled.length();
                assert_eq!(budget.used(), length);
                let (mut file, reservation) = spooled.into_parts().unwrap();
                let mut all = Vec::new();
                file.read_to_end(&mut all).unwrap();
                assert_eq!(all.len() as u64, length);
                drop(reservation);
                assert_eq!(budget.used(), 0);
                (true, all)
            }
        }
    }

    #[tokio::test]
    async fn long_bodies_go_to_a_file_and_keep_every_byte() {
        assert_eq!(spooled(&[], 4).await, (false, vec![]));
        assert_eq!(spooled(&[b"abcd"], 4).await, (false, b"abcd".to_vec()));
        assert_eq!(spooled(&[b"ab", b"c", b"d"], 4).await, (false, b"abcd".to_vec()));
        assert_eq!(spooled(&[b"ab", b"c", b"de", b"f"], 4).await, (true, b"abcdef".to_vec()));
        assert_eq!(spooled(&[b"abcde"], 4).await, (true, b"abcde".to_vec()));
        assert_eq!(spooled(&[b"", b"abc"], 0).await, (true, b"abc".to_vec()));
    }

    #[tokio::test]
    async fn pieces_of_any_size_make_the_same_body() {
        let content: Vec<u8> = (0..5 * BLOCK as u32 + 3).map(|number| (number >> 3) as u8).collect();
        for size in [1000, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 6 * BLOCK] {
            let pieces: Vec<&[u8]> = content.chunks(size).collect();
            assert!(spooled(&pieces, 112 * 1024).await == (true, content.clone()), "{size}");
        }
    }

    #[tokio::test]
    async fn a_body_over_the_budget_is_refused_and_gives_its_bytes_back() {
        let disk = Arc::new(Disk::default());
        let budget = Budget::new(2 * BLOCK as u64 - 1);
        let mut spool = Spool::new(&disk, &budget, 0);
        spool.add(Bytes::from(vec![0; BLOCK])).unwrap();
        poll_fn(|cx| spool.poll_written(cx)).await.unwrap();
        assert!(matches!(spool.add(Bytes::from(vec![0; BLOCK])), Err(SpoolError::OverBudget)));
        drop(spool);
        disk.run(Lane::Chores, || ()).await.unwrap();
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn while_a_write_is_in_flight_there_is_room_for_one_block() {
        let disk = Arc::new(Disk::default());
        let (release, released) = crossbeam_channel::bounded::<()>(0);
        let (begin, begun) = crossbeam_channel::bounded::<()>(0);
        disk.chore(move || {
            begin.send(()).unwrap();
            let _ = released.recv();
        })
        .unwrap();
        // Before, the thread could take the write first.
        begun.recv().unwrap();
        let mut spool = Spool::new(&disk, &Budget::new(u64::MAX), 0);
        let mut added = 0;
        while let Poll::Ready(room) = spool.poll_room(&mut Context::from_waker(std::task::Waker::noop())) {
            room.unwrap();
            spool.add(Bytes::from(vec![0; 1000])).unwrap();
            added += 1000;
        }
        assert!((BLOCK..BLOCK + 3000).contains(&added), "{added}");
        drop(release);
        poll_fn(|cx| spool.poll_room(cx)).await.unwrap();
        assert_eq!(spool.finish().await.unwrap().len(), added as u64);
    }
}
