//! Static files, read without Ruby.

use std::fs::{File, Metadata};
use std::future::Future;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::task::{JoinHandle, spawn_blocking};

use super::body::Body;
use super::response::Response;

/// Bytes read from a file at a time, each time the socket has room.
const CHUNK: usize = 64 * 1024;

/// A directory whose files are served.
#[derive(Debug, Clone)]
pub struct PublicDir {
    root: PathBuf,
}

impl PublicDir {
    /// `root` must be a directory that can be entered.
    pub fn open(root: &Path) -> io::Result<Self> {
        let root = root.canonicalize()?;
        if !root.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a directory"));
        }
        Ok(PublicDir { root })
    }

    /// The response for the file that `path` (of a request target, still percent-encoded) names;
    /// `None` if there is no such file, or none that may be seen.
    pub async fn respond(&self, path: &str) -> Option<Response> {
        let relative = relative_path(path)?;
        let root = self.root.clone();
        // Disks can be slow; the reactor must not be.
        let (file, metadata) = spawn_blocking(move || open_below(&root, &relative)).await.ok()??;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type(path));
        let body = Body::File(FileBody { state: FileState::Idle(file), remaining: metadata.len() });
        Some(Response { status: StatusCode::OK, headers, body })
    }
}

/// The path below the root that a request path names: no way up, nothing hidden, nothing odd.
fn relative_path(path: &str) -> Option<PathBuf> {
    let decoded = percent_decode_str(path.strip_prefix('/')?).decode_utf8().ok()?;
    // Split here, not by Path, which would forgive `//`, `/./` and a final slash.
    let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\0', '\\']);
    if !decoded.split('/').all(plain) {
        return None;
    }
    let path = PathBuf::from(decoded.as_ref());
    path.components().all(|part| matches!(part, Component::Normal(_))).then_some(path)
}

fn open_below(root: &Path, relative: &Path) -> Option<(File, Metadata)> {
    // Resolved, so that a symbolic link cannot lead out.
    let path = root.join(relative).canonicalize().ok()?;
    if !path.starts_with(root) {
        return None;
    }
    let metadata = path.metadata().ok()?;
    // Opening a FIFO would wait for its writer.
    if !metadata.is_file() {
        return None;
    }
    let file = File::open(&path).ok()?;
    let metadata = file.metadata().ok()?;
    Some((file, metadata))
}

fn content_type(path: &str) -> HeaderValue {
    let mime = mime_guess::from_path(path).first_or_octet_stream();
    let text = mime.type_() == mime_guess::mime::TEXT || mime.subtype() == mime_guess::mime::JAVASCRIPT;
    let value = if text { format!("{mime}; charset=utf-8") } else { mime.to_string() };
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

/// A file as a response body: read chunk by chunk on a thread for blocking work.
#[derive(Debug)]
pub struct FileBody {
    state: FileState,
    remaining: u64,
}

#[derive(Debug)]
enum FileState {
    Idle(File),
    Reading(JoinHandle<(File, io::Result<Bytes>)>),
    Done,
}

impl FileBody {
    /// Sends `length` bytes of `file`, from its start.
    pub fn new(file: File, length: u64) -> Self {
        FileBody { state: FileState::Idle(file), remaining: length }
    }

    /// Bytes that are still to come.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// The next bytes of the file; an error if it has become shorter.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            match std::mem::replace(&mut self.state, FileState::Done) {
                FileState::Done => return Poll::Ready(None),
                FileState::Idle(_) if self.remaining == 0 => return Poll::Ready(None),
                FileState::Idle(file) => {
                    let wanted = self.remaining.min(CHUNK as u64);
                    self.state = FileState::Reading(spawn_blocking(move || read_chunk(file, wanted)));
                }
                FileState::Reading(mut handle) => {
                    let Poll::Ready(read) = Pin::new(&mut handle).poll(cx) else {
                        self.state = FileState::Reading(handle);
                        return Poll::Pending;
                    };
                    let (file, chunk) = match read {
                        Ok((file, Ok(chunk))) => (file, chunk),
                        Ok((_, Err(error))) => return Poll::Ready(Some(Err(error))),
                        Err(error) => return Poll::Ready(Some(Err(io::Error::other(error)))),
                    };
                    self.remaining -= chunk.len() as u64;
                    self.state = FileState::Idle(file);
                    return Poll::Ready(Some(Ok(chunk)));
                }
            }
        }
    }
}

fn read_chunk(file: File, wanted: u64) -> (File, io::Result<Bytes>) {
    let mut chunk = Vec::with_capacity(wanted as usize);
    let read = match (&file).take(wanted).read_to_end(&mut chunk) {
        Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was sent")),
        Ok(_) => Ok(Bytes::from(chunk)),
        Err(error) => Err(error),
    };
    (file, read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_way_up_and_nothing_hidden() {
        assert_eq!(relative_path("/a/b.html"), Some(PathBuf::from("a/b.html")));
        assert_eq!(relative_path("/with%20space"), Some(PathBuf::from("with space")));
        for path in [
            "/",
            "",
            "a",
            "//etc/passwd",
            "/../etc/passwd",
            "/a/../b",
            "/%2e%2e/etc/passwd",
            "/%2e%2e%2fetc",
            "/.env",
            "/a/.git/config",
            "/%2eenv",
            "/a\\..\\b",
            "/a%00.html",
            "/a/",
            "/./a",
            "/%ff",
        ] {
            assert_eq!(relative_path(path), None, "{path}");
        }
    }

    #[test]
    fn a_link_does_not_lead_out() {
        let outside = tempfile::NamedTempFile::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("link")).unwrap();
        std::fs::write(dir.path().join("page.html"), "hello").unwrap();
        let root = dir.path().canonicalize().unwrap();
        assert!(open_below(&root, Path::new("link")).is_none());
        assert!(open_below(&root, Path::new("page.html")).is_some());
        assert!(open_below(&root, Path::new("missing")).is_none());
    }

    #[test]
    fn types_say_their_charset() {
        assert_eq!(content_type("/a.html"), "text/html; charset=utf-8");
        assert_eq!(content_type("/a.js"), "text/javascript; charset=utf-8");
        assert_eq!(content_type("/a.png"), "image/png");
        assert_eq!(content_type("/a"), "application/octet-stream");
    }

    proptest! {
        #[test]
        fn every_served_path_stays_below(path in "[/.%a-f0-9\\\\]{0,40}") {
            if let Some(relative) = relative_path(&path) {
                prop_assert!(relative.components().all(|part| matches!(part, Component::Normal(_))));
            }
        }
    }
}
