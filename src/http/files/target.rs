//! Which name below the folder a request path means: no way up, nothing hidden, nothing odd.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

/// What a path that ends in a slash stands for.
const INDEX: &str = "index.html";

/// A name below the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    name: PathBuf,
    slash: bool,
}

impl Target {
    /// `path` is that of a request target, still percent-encoded.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let mut target = Target { name: PathBuf::new(), slash: false };
        let mut segments = path.strip_prefix('/')?.split('/').peekable();
        while let Some(segment) = segments.next() {
            target.slash = segment.is_empty() && segments.peek().is_none();
            let name = if target.slash { Cow::Borrowed(INDEX) } else { file_name(segment)? };
            target.name.push(name.as_ref());
        }
        Some(target)
    }

    /// Of a file, or of a directory without its slash; always relative.
    pub(super) fn name(&self) -> &Path {
        &self.name
    }

    /// The page that stands for the directory, if the target is one without its slash.
    pub(super) fn index(&self) -> Option<PathBuf> {
        (!self.slash).then(|| self.name.join(INDEX))
    }
}

/// A segment as the name of a file. It is decoded after the path was taken apart, so that an
/// encoded slash separates nothing (RFC 3986 section 2.2), and as no file's name has one, there
/// is no such file. A backslash is refused because other systems, and programs that make files
/// from archives, take it for a separator.
fn file_name(segment: &str) -> Option<Cow<'_, str>> {
    let name = percent_decode_str(segment).decode_utf8().ok()?;
    // A leading dot: hidden, or this directory, or the one above.
    let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
    plain.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Component;

    fn name(path: &str) -> Option<String> {
        Target::parse(path).map(|target| target.name().to_str().unwrap().to_owned())
    }

    #[test]
    fn names_of_files() {
        assert_eq!(name("/a/b.html").as_deref(), Some("a/b.html"));
        assert_eq!(name("/with%20space").as_deref(), Some("with space"));
        assert_eq!(name("/gr%C3%BC%C3%9Fe").as_deref(), Some("grüße"));
        assert_eq!(name("/%2520").as_deref(), Some("%20"), "decoded once");
        assert_eq!(name("/a+b;c").as_deref(), Some("a+b;c"));
    }

    #[test]
    fn a_final_slash_is_the_index() {
        assert_eq!(name("/").as_deref(), Some("index.html"));
        assert_eq!(name("/a/").as_deref(), Some("a/index.html"));
        assert_eq!(Target::parse("/a/").unwrap().index(), None);
        assert_eq!(Target::parse("/a").unwrap().index(), Some(PathBuf::from("a/index.html")));
    }

    #[test]
    fn no_way_up_and_nothing_hidden() {
        let ways_up =
            ["/..", "/../a", "/a/../b", "/a/..", "/%2e%2e/a", "/.%2E/a", "/%2e%2e%2fa", "/..%5ca", "/a\\..\\b"];
        let hidden = ["/.env", "/a/.git/config", "/%2eenv", "/./a", "/.", "/.well-known/a"];
        let odd = ["", "*", "a", "//", "//a", "/a//", "/a//b", "/a%2fb", "/%2Fa", "/a%00.html", "/%00", "/%ff"];
        for path in ways_up.iter().chain(&hidden).chain(&odd) {
            assert_eq!(name(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn every_name_is_below_and_visible(path in "/?([/.%\\\\a-f0-9\u{0}]|%2[eEfF]|%5c|%00){0,40}") {
            if let Some(target) = Target::parse(&path) {
                let components: Vec<_> = target.name().components().collect();
                prop_assert!(!components.is_empty());
                for component in components {
                    let Component::Normal(name) = component else { panic!("{component:?}") };
                    prop_assert!(!name.to_str().unwrap().starts_with('.'));
                }
                // As many names as segments: nothing was split or joined by what it decodes to.
                prop_assert_eq!(target.name().components().count(), path.split('/').count() - 1);
            }
        }

        #[test]
        fn any_text_is_survived(path in any::<String>()) {
            let _ = Target::parse(&path);
        }
    }
}
