//! Static files, read without Ruby.
//!
//! | module | subject |
//! |---|---|
//! | [`target`] | which name below the folder a request path means |
//! | [`disk`] | what has that name, opened without side effects |
//! | [`coding`] | Accept-Encoding, and the `.br` and `.gz` files beside a file |
//! | [`conditional`] | ETag and Last-Modified, and requests that depend on them |
//! | [`range`] | parts of files |
//! | [`part`] | the same for files that an app sends |
//!
//! A request that may be for a file costs one visit to the disk thread, which does all that is to be done, and reads the
//! first 64 KiB of the content. Most requests that are for no file cost no visit.

mod coding;
mod conditional;
mod disk;
mod part;
mod range;
mod target;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use http::StatusCode;
use percent_encoding::{CONTROLS, utf8_percent_encode};

use super::body::Body;
use super::file_body::FileBody;
use super::response::Response;
use super::response_headers::ResponseHeaders;
use crate::base;
use crate::base::disk::{Lane, Unavailable};
use crate::request_head::{Method, RequestHead};
use coding::Coding;
use conditional::{Validators, Verdict};
use disk::{Found, Located, Opened};
use range::Requested;
use target::Target;

pub use disk::open_regular;
pub use part::send_file;

/// A directory whose files are served.
#[derive(Debug, Clone)]
pub struct PublicDir {
    root: Arc<Path>,
}

impl PublicDir {
    /// `root` must be a directory that can be entered.
    pub fn open(root: &Path) -> io::Result<Self> {
        let root = root.canonicalize()?;
        if !root.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a directory"));
        }
        Ok(PublicDir { root: Arc::from(root) })
    }

    /// The answer to a request for a file. `None` if there is no such file, or none that clients may see: then the app is
    /// asked. 503 if there is no disk thread.
    pub async fn respond(&self, head: &RequestHead, context: &base::Context) -> Option<Response> {
        if !matches!(head.method(), Method::Get | Method::Head) {
            return None;
        }
        let target = Target::parse(head.path())?;
        if disk::known_missing(&self.root.join(target.name())) {
            return None;
        }
        let inquiry = Inquiry {
            root: Arc::clone(&self.root),
            target,
            head: head.clone(),
            head_only: head.method() == Method::Head,
            now: SystemTime::now(),
        };
        // A disk can be slow, and the reactor must not wait for it.
        context.disk.run(Lane::Files, move || inquiry.answer()).await.unwrap_or_else(|Unavailable| {
            context.stats.disk_unavailable.add();
            Some(Response::unavailable())
        })
    }
}

/// A request for a file, on its way to the disk thread.
struct Inquiry {
    root: Arc<Path>,
    target: Target,
    head: RequestHead,
    head_only: bool,
    now: SystemTime,
}

impl Inquiry {
    fn answer(&self) -> Option<Response> {
        match disk::find(&self.root, self.target.name())? {
            Found::File(original) => self.choose(&original),
            Found::Directory => self.add_slash(),
        }
    }

    /// Sends the client to the form with a slash, which the relative links of an index page need.
    /// Preconditions are not looked at: RFC 9110 section 13.2.1, the answer is not a 2xx.
    fn add_slash(&self) -> Option<Response> {
        let index = self.target.index()?;
        let Found::File(_) = disk::find(&self.root, &index)? else { return None };
        let query = self.head.query().map(|query| format!("?{query}")).unwrap_or_default();
        // Never a `//host`: a target with an empty segment names no directory.
        let location = format!("{}/{query}", self.head.path());
        // What hyper let through as UTF-8 is not a URI reference (RFC 9110 section 10.2.2) yet.
        let location = utf8_percent_encode(&location, CONTROLS).to_string();
        Some(Response::plain(StatusCode::MOVED_PERMANENTLY).with("location", location))
    }

    /// The file itself or one of its compressed siblings.
    fn choose(&self, original: &Located) -> Option<Response> {
        let siblings = Coding::ALL.into_iter().filter_map(|coding| Some((coding, self.sibling(original, coding)?)));
        let siblings: Vec<_> = siblings.collect();
        let mut headers = ResponseHeaders::new();
        if !siblings.is_empty() {
            // Also when the choice fell on the file itself: RFC 9110 section 12.5.5.
            headers.append("vary", "accept-encoding");
        }
        let compressed = coding::preferred(&self.head).into_iter().find_map(|wanted| {
            let (_, sibling) = siblings.iter().find(|(coding, _)| *coding == wanted)?;
            Some((wanted, sibling.open()?))
        });
        match compressed {
            Some((coding, sibling)) => self.represent(sibling, Some(coding), headers),
            None => self.represent(original.open()?, None, headers),
        }
    }

    fn sibling(&self, original: &Located, coding: Coding) -> Option<Located> {
        match disk::find(&self.root, &coding.sibling(self.target.name()))? {
            // An older one was made from something else.
            Found::File(sibling) if !sibling.is_older_than(original) => Some(sibling),
            Found::File(_) | Found::Directory => None,
        }
    }

    /// Preconditions first, then the range: RFC 9110 section 13.2.2.
    fn represent(&self, opened: Opened, coding: Option<Coding>, mut headers: ResponseHeaders) -> Option<Response> {
        let validators = Validators::new(&opened.metadata, coding, self.now);
        headers.append("etag", validators.etag());
        match conditional::judge(&self.head, &validators) {
            Verdict::Failed => return Some(Response::plain(StatusCode::PRECONDITION_FAILED)),
            // ETag and Vary are all of a 200's headers that a cache needs: RFC 9110 section 15.4.5.
            Verdict::NotModified => {
                return Some(Response::of(StatusCode::NOT_MODIFIED, headers, Body::Empty));
            }
            Verdict::Perform => {}
        }
        headers.append("accept-ranges", "bytes");
        headers.append("content-type", content_type(self.target.name()));
        if let Some(coding) = coding {
            headers.append("content-encoding", coding.token());
        }
        if let Some(date) = validators.last_modified() {
            headers.append("last-modified", date);
        }
        self.send(opened, &validators, headers)
    }

    fn send(&self, opened: Opened, validators: &Validators, mut headers: ResponseHeaders) -> Option<Response> {
        let length = opened.metadata.len();
        let (status, bytes) = match self.requested(validators, length) {
            Requested::Whole => (StatusCode::OK, 0..length),
            Requested::Part(bytes) => {
                headers.append("content-range", range::content_range(&bytes, length)?);
                (StatusCode::PARTIAL_CONTENT, bytes)
            }
            Requested::Unsatisfiable => {
                let range = range::unsatisfied_range(length);
                return Some(Response::plain(StatusCode::RANGE_NOT_SATISFIABLE).with("content-range", range));
            }
        };
        headers.append("content-length", (bytes.end - bytes.start).to_string());
        let body = if self.head_only {
            Body::Unsent
        } else {
            let mut body = FileBody::part(opened.file, bytes);
            body.read_ahead();
            Body::File(body)
        };
        Some(Response::of(status, headers, body))
    }

    fn requested(&self, validators: &Validators, length: u64) -> Requested {
        // RFC 9110 section 14.2: Range means nothing with any method but GET.
        if self.head_only || !conditional::range_applies(&self.head, &validators.strong()) {
            return Requested::Whole;
        }
        range::requested(&self.head, length)
    }
}

/// By the name's extension. Text is taken for UTF-8; a page in another encoding says so by a byte order mark.
fn content_type(name: &Path) -> String {
    let mime = mime_guess::from_path(name).first_or_octet_stream();
    let text = mime.type_() == mime_guess::mime::TEXT || mime.subtype() == mime_guess::mime::JAVASCRIPT;
    if text { format!("{mime}; charset=utf-8") } else { mime.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_say_their_charset() {
        let of = |name: &str| content_type(Path::new(name));
        assert_eq!(of("a.html"), "text/html; charset=utf-8");
        assert_eq!(of("a.js"), "text/javascript; charset=utf-8");
        assert_eq!(of("a.mjs"), "application/javascript; charset=utf-8");
        assert_eq!(of("a.PNG"), "image/png");
        assert_eq!(of("a.webmanifest"), "application/manifest+json");
        assert_eq!(of("a.js.gz"), "application/gzip");
        assert_eq!(of("a"), "application/octet-stream");
    }

    #[test]
    fn the_root_is_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(PublicDir::open(dir.path()).is_ok());
        assert!(PublicDir::open(&file).is_err());
        assert!(PublicDir::open(&dir.path().join("missing")).is_err());
    }
}
