//! A file as a response body. It is read piece by piece, each time the socket has room.

use std::fs::File;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::base::disk::{Disk, Lane, Running};

/// Bytes read from a file at a time, each time the socket has room.
const CHUNK: u64 = 64 * 1024;

/// A range of a file's bytes. If the file becomes shorter, the body ends with an error, which cuts the connection. If
/// the file becomes longer, the added bytes are not sent.
#[derive(Debug)]
pub struct FileBody(Box<Source>);

/// Boxed, so that responses without a file stay small.
#[derive(Debug)]
struct Source {
    file: Arc<File>,
    bytes: Range<u64>,
    chunk: Chunk,
}

/// The bytes that are next.
#[derive(Debug, Default)]
enum Chunk {
    #[default]
    Unread,
    Reading(Running<io::Result<Bytes>>),
    Read(io::Result<Bytes>),
}

impl FileBody {
    /// These bytes of a regular file. The file's own position does not matter.
    pub fn part(file: File, bytes: Range<u64>) -> Self {
        FileBody(Box::new(Source { file: Arc::new(file), bytes, chunk: Chunk::Unread }))
    }

    /// Bytes that are still to come.
    pub fn remaining(&self) -> u64 {
        self.0.bytes.end.saturating_sub(self.0.bytes.start)
    }

    /// Reads the first bytes now, for a caller that may wait for the disk.
    pub fn read_ahead(&mut self) {
        if self.remaining() > 0 {
            self.0.chunk = Chunk::Read(read(&self.0.file, self.0.next()));
        }
    }

    /// The next bytes of the file, read on the thread of `disk`. An error if the file has become shorter.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>, disk: &Disk) -> Poll<Option<io::Result<Bytes>>> {
        while self.remaining() > 0 {
            match std::mem::take(&mut self.0.chunk) {
                Chunk::Unread => {
                    let (file, bytes) = (Arc::clone(&self.0.file), self.0.next());
                    self.0.chunk = Chunk::Reading(disk.run(Lane::Files, move || read(&file, bytes)));
                }
                Chunk::Reading(mut reading) => {
                    let Poll::Ready(read) = Pin::new(&mut reading).poll(cx) else {
                        self.0.chunk = Chunk::Reading(reading);
                        return Poll::Pending;
                    };
                    self.0.chunk = Chunk::Read(read.unwrap_or_else(|error| Err(io::Error::other(error))));
                }
                Chunk::Read(read) => {
                    if let Ok(chunk) = &read {
                        self.0.bytes.start += chunk.len() as u64;
                    }
                    return Poll::Ready(Some(read));
                }
            }
        }
        Poll::Ready(None)
    }
}

impl Source {
    fn next(&self) -> Range<u64> {
        self.bytes.start..self.bytes.end.min(self.bytes.start.saturating_add(CHUNK))
    }
}

fn read(file: &File, bytes: Range<u64>) -> io::Result<Bytes> {
    let mut chunk = vec![0; (bytes.end - bytes.start) as usize];
    match file.read_exact_at(&mut chunk, bytes.start) {
        Ok(()) => Ok(Bytes::from(chunk)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(io::Error::new(error.kind(), "the file became shorter while it was sent"))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// What `bytes` of a file with this content are; `cut` is its length from then on.
    async fn sent(content: &[u8], bytes: Range<u64>, ahead: bool, cut: Option<u64>) -> io::Result<Vec<u8>> {
        let mut file = tempfile::tempfile()?;
        file.write_all(content)?;
        let other = file.try_clone()?;
        let mut body = FileBody::part(file, bytes);
        if ahead {
            body.read_ahead();
        }
        if let Some(length) = cut {
            other.set_len(length)?;
        }
        let mut sent = Vec::new();
        let mut left = body.remaining();
        let disk = Disk::default();
        while let Some(chunk) = std::future::poll_fn(|cx| body.poll_chunk(cx, &disk)).await {
            sent.extend_from_slice(&chunk?);
            left -= body.remaining().abs_diff(left);
        }
        assert_eq!((left, body.remaining()), (0, 0));
        Ok(sent)
    }

    fn content() -> Vec<u8> {
        (0..3 * CHUNK + 17).map(|number| number as u8).collect()
    }

    #[tokio::test]
    async fn exactly_the_bytes() {
        let content = content();
        let length = content.len() as u64;
        for bytes in [0..length, 0..0, 5..6, 0..CHUNK, CHUNK - 1..CHUNK + 1, length - 1..length, 100..2 * CHUNK + 100] {
            for ahead in [false, true] {
                let expected = &content[bytes.start as usize..bytes.end as usize];
                assert_eq!(sent(&content, bytes.clone(), ahead, None).await.unwrap(), expected, "{bytes:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_shrinks_is_an_error() {
        for ahead in [false, true] {
            let result = sent(&content(), 0..2 * CHUNK, ahead, Some(CHUNK + 1)).await;
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[tokio::test]
    async fn what_is_added_is_left_out() {
        assert_eq!(sent(b"content", 0..7, false, Some(100)).await.unwrap(), b"content");
    }
}
