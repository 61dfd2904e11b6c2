//! ETag and Last-Modified, and the requests that depend on them: RFC 9110 sections 8.8 and 13.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::coding::Coding;
use crate::http::headers::{Field, field, single_text};
use crate::request_head::RequestHead;

const IF_MATCH: &str = "if-match";
const IF_MODIFIED_SINCE: &str = "if-modified-since";
const IF_NONE_MATCH: &str = "if-none-match";
const IF_RANGE: &str = "if-range";
const IF_UNMODIFIED_SINCE: &str = "if-unmodified-since";

/// The age at which a file cannot change any more without a new time: that of the coarsest clock
/// that matters, Last-Modified's.
const SETTLED: Duration = Duration::from_secs(1);

/// What tells one version of a file from another.
///
/// The tag is made of size and time, because a hash would cost a read of the whole file. The time
/// is exact to what the file system keeps, a few milliseconds on most; so the tag is strong, which
/// ranges need, except of a file that was changed just now: another change in the same instant
/// would not show (section 8.8.1).
#[derive(Debug)]
pub(super) struct Validators {
    /// The tag's text, without quotes.
    tag: String,
    settled: bool,
    /// Seconds since 1970; `None` before.
    modified: Option<u64>,
}

impl Validators {
    /// Of a file; `coding` if it is the compressed form of another.
    pub(super) fn new(metadata: &Metadata, coding: Option<Coding>, now: SystemTime) -> Self {
        let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
        // Section 8.8.3.3: another coding is another representation, even if all else is the same.
        let suffix = coding.map(|coding| format!("-{}", coding.token())).unwrap_or_default();
        let age = metadata.modified().ok().and_then(|modified| now.duration_since(modified).ok());
        // Section 8.8.2.1: never later than Date, even if the file's time comes from another clock.
        let latest = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Validators {
            tag: format!("{seconds:x}.{nanoseconds:x}-{:x}{suffix}", metadata.len()),
            settled: age.is_some_and(|age| age >= SETTLED),
            modified: u64::try_from(seconds).ok().map(|seconds| seconds.min(latest)),
        }
    }

    /// The value of ETag.
    pub(super) fn etag(&self) -> String {
        let weak = if self.settled { "" } else { "W/" };
        format!("{weak}\"{}\"", self.tag)
    }

    /// The value of Last-Modified, if the time can be written as one.
    pub(super) fn last_modified(&self) -> Option<String> {
        Some(httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(self.modified?)))
    }

    /// Section 8.8.3.2.
    fn matches_weakly(&self, tag: &Tag<'_>) -> bool {
        tag.text == self.tag.as_bytes()
    }

    /// Section 8.8.3.2.
    fn matches_strongly(&self, tag: &Tag<'_>) -> bool {
        self.strong().matches(tag)
    }

    /// Those of them that tell every version from every other one.
    pub(super) fn strong(&self) -> Strong<'_> {
        if self.settled {
            Strong { tag: Some(self.tag.as_bytes()), modified: self.modified }
        } else {
            Strong::default()
        }
    }
}

/// Strong validators: no two versions of a file have the same one (section 8.8.1).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Strong<'a> {
    /// The tag's text, without quotes; `None` if there is none, or a weak one.
    pub(super) tag: Option<&'a [u8]>,
    /// Seconds since 1970; `None` if the time is not known, or the file may change again within the same second.
    pub(super) modified: Option<u64>,
}

impl Strong<'_> {
    /// Section 8.8.3.2.
    fn matches(&self, tag: &Tag<'_>) -> bool {
        !tag.weak && self.tag == Some(tag.text)
    }
}

/// What the preconditions of a GET or HEAD lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As if there were none.
    Perform,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// The order of section 13.2.2: what must be unchanged first, and tags before dates.
pub(super) fn judge(head: &RequestHead, validators: &Validators) -> Verdict {
    if head.contains(IF_MATCH) {
        // Section 13.1.1: strong, so that a client never goes on with something similar.
        if !lists(head, IF_MATCH, |tag| validators.matches_strongly(tag)) {
            return Verdict::Failed;
        }
    } else if let (Some(date), Some(modified)) = (date(head, IF_UNMODIFIED_SINCE), validators.modified)
        && modified > date
    {
        return Verdict::Failed;
    }
    let fresh = if head.contains(IF_NONE_MATCH) {
        // Section 13.1.2: weak, as similar is good enough for a cache.
        lists(head, IF_NONE_MATCH, |tag| validators.matches_weakly(tag))
    } else {
        let date = date(head, IF_MODIFIED_SINCE);
        date.zip(validators.modified).is_some_and(|(date, modified)| modified <= date)
    };
    if fresh { Verdict::NotModified } else { Verdict::Perform }
}

/// If-Range, section 13.1.5: whether the client's part belongs to the version with these validators. Without the header
/// it does; a value that cannot be understood is of another version.
pub(super) fn range_applies(head: &RequestHead, validators: &Strong<'_>) -> bool {
    let value = match field(head, IF_RANGE) {
        Field::Absent => return true,
        Field::Repeated => return false,
        Field::Once(value) => value,
    };
    match Tag::parse(value) {
        Some((tag, behind)) => behind.is_empty() && validators.matches(&tag),
        None => validators.modified.is_some() && date(head, IF_RANGE) == validators.modified,
    }
}

/// Whether the header is `*`, which any file matches, or lists a tag for which `matches` holds.
fn lists(head: &RequestHead, name: &str, matches: impl Fn(&Tag<'_>) -> bool) -> bool {
    head.get_all(name).any(|line| {
        let line = line.trim_ascii();
        line == b"*" || Tags(line).any(|tag| matches(&tag))
    })
}

/// The header as seconds since 1970. `None` if it is not exactly one valid date: then it is to be
/// ignored, sections 13.1.3 and 13.1.4.
fn date(head: &RequestHead, name: &str) -> Option<u64> {
    parse_date(single_text(head, name)?)
}

/// A date as seconds since 1970.
pub(super) fn parse_date(text: &str) -> Option<u64> {
    let date = httpdate::parse_http_date(text).ok()?;
    date.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// An entity tag, section 8.8.3.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    pub(super) weak: bool,
    pub(super) text: &'a [u8],
}

impl<'a> Tag<'a> {
    /// A tag at the beginning of `bytes`, and what follows it.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, quoted) = match bytes.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, bytes),
        };
        let opened = quoted.strip_prefix(b"\"")?;
        let end = opened.iter().position(|byte| *byte == b'"')?;
        let (text, closed) = opened.split_at(end);
        let valid = text.iter().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..=0xff));
        Some((Tag { weak, text }, closed.strip_prefix(b"\"")?)).filter(|_| valid)
    }
}

/// A list of tags, which may have commas in them. It ends where it is not one any more.
struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        let between = |byte: &u8| matches!(byte, b' ' | b'\t' | b',');
        let start = self.0.iter().position(|byte| !between(byte))?;
        let (tag, rest) = Tag::parse(&std::mem::take(&mut self.0)[start..])?;
        if rest.first().is_none_or(between) {
            self.0 = rest;
        }
        Some(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request_head::for_tests::{head, head_with};
    use http::HeaderValue;
    use proptest::prelude::*;
    use std::fs::File;

    /// 10 May 2024, 10:00:00.
    const MODIFIED: u64 = 1_715_335_200;
    const BEFORE: &str = "Fri, 10 May 2024 09:59:59 GMT";
    const SAME: &str = "Fri, 10 May 2024 10:00:00 GMT";
    const AFTER: &str = "Fri, 10 May 2024 10:00:01 GMT";

    fn validators() -> Validators {
        Validators { tag: "a".to_owned(), settled: true, modified: Some(MODIFIED) }
    }

    fn unsettled() -> Validators {
        Validators { settled: false, ..validators() }
    }

    fn headers(lines: &[(&str, &str)]) -> RequestHead {
        head("GET", "/", lines)
    }

    fn verdict(lines: &[(&str, &str)]) -> Verdict {
        judge(&headers(lines), &validators())
    }

    #[test]
    fn no_precondition() {
        assert_eq!(verdict(&[]), Verdict::Perform);
    }

    #[test]
    fn if_none_match_is_weak() {
        for value in ["\"a\"", "W/\"a\"", "*", " * ", "\"b\", \"a\"", "\"b\",\"a\"", ", ,\"x,\",\t\"a\",", "\"a\" junk"]
        {
            assert_eq!(verdict(&[(IF_NONE_MATCH, value)]), Verdict::NotModified, "{value}");
        }
        for value in [
            "\"b\"",
            "",
            "a",
            "w/\"a\"",
            "\"a",
            "a\"",
            "\"b\"\"a\"",
            "\"b\" \u{1f600} \"a\"",
            "\"x\"y, \"a\"",
            "\"b\", *",
        ] {
            assert_eq!(verdict(&[(IF_NONE_MATCH, value)]), Verdict::Perform, "{value}");
        }
        assert_eq!(verdict(&[(IF_NONE_MATCH, "\"b\""), (IF_NONE_MATCH, "\"a\"")]), Verdict::NotModified, "two lines");
        assert_eq!(judge(&headers(&[(IF_NONE_MATCH, "\"a\"")]), &unsettled()), Verdict::NotModified);
    }

    #[test]
    fn if_match_is_strong() {
        for value in ["\"a\"", "*", "\"b\", \"a\""] {
            assert_eq!(verdict(&[(IF_MATCH, value)]), Verdict::Perform, "{value}");
        }
        for value in ["\"b\"", "W/\"a\"", "", "junk"] {
            assert_eq!(verdict(&[(IF_MATCH, value)]), Verdict::Failed, "{value}");
        }
        assert_eq!(judge(&headers(&[(IF_MATCH, "\"a\"")]), &unsettled()), Verdict::Failed);
    }

    #[test]
    fn dates() {
        for (date, verdict_since, verdict_unmodified) in [
            (BEFORE, Verdict::Perform, Verdict::Failed),
            (SAME, Verdict::NotModified, Verdict::Perform),
            (AFTER, Verdict::NotModified, Verdict::Perform),
            // The two obsolete formats, section 5.6.7.
            ("Friday, 10-May-24 10:00:00 GMT", Verdict::NotModified, Verdict::Perform),
            ("Fri May 10 10:00:00 2024", Verdict::NotModified, Verdict::Perform),
        ] {
            assert_eq!(verdict(&[(IF_MODIFIED_SINCE, date)]), verdict_since, "{date}");
            assert_eq!(verdict(&[(IF_UNMODIFIED_SINCE, date)]), verdict_unmodified, "{date}");
        }
        for junk in ["", "yesterday", "1715335200", "Fri, 99 May 2024 10:00:00 GMT", "Fri, 10 May 0000 10:00:00 GMT"] {
            assert_eq!(verdict(&[(IF_MODIFIED_SINCE, junk)]), Verdict::Perform, "{junk}");
            assert_eq!(verdict(&[(IF_UNMODIFIED_SINCE, junk)]), Verdict::Perform, "{junk}");
        }
        assert_eq!(verdict(&[(IF_MODIFIED_SINCE, AFTER), (IF_MODIFIED_SINCE, AFTER)]), Verdict::Perform, "not one");
    }

    #[test]
    fn precedence() {
        // Tags win over dates.
        assert_eq!(verdict(&[(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, AFTER)]), Verdict::Perform);
        assert_eq!(verdict(&[(IF_NONE_MATCH, "\"a\""), (IF_MODIFIED_SINCE, BEFORE)]), Verdict::NotModified);
        assert_eq!(verdict(&[(IF_MATCH, "\"a\""), (IF_UNMODIFIED_SINCE, BEFORE)]), Verdict::Perform);
        assert_eq!(verdict(&[(IF_MATCH, "\"b\""), (IF_UNMODIFIED_SINCE, AFTER)]), Verdict::Failed);
        // What must be unchanged wins over what must be changed.
        assert_eq!(verdict(&[(IF_MATCH, "\"b\""), (IF_NONE_MATCH, "\"a\"")]), Verdict::Failed);
        assert_eq!(verdict(&[(IF_MATCH, "\"a\""), (IF_NONE_MATCH, "\"a\"")]), Verdict::NotModified);
        assert_eq!(verdict(&[(IF_UNMODIFIED_SINCE, BEFORE), (IF_NONE_MATCH, "\"a\"")]), Verdict::Failed);
    }

    #[test]
    fn if_range_is_strong() {
        let applies =
            |value, validators: &Validators| range_applies(&headers(&[(IF_RANGE, value)]), &validators.strong());
        assert!(range_applies(&headers(&[]), &validators().strong()));
        assert!(applies("\"a\"", &validators()));
        assert!(applies(SAME, &validators()));
        for value in ["\"b\"", "W/\"a\"", "\"a\", \"a\"", BEFORE, AFTER, "*", "", "junk"] {
            assert!(!applies(value, &validators()), "{value}");
        }
        for value in ["\"a\"", SAME] {
            assert!(!applies(value, &unsettled()), "{value}");
        }
        let undated = Validators { modified: None, ..validators() };
        assert!(!applies("junk", &undated));
    }

    fn of_file(modified: SystemTime, coding: Option<Coding>, now: SystemTime) -> Validators {
        let file = tempfile::tempfile().unwrap();
        file.set_modified(modified).unwrap();
        Validators::new(&file.metadata().unwrap(), coding, now)
    }

    #[test]
    fn tags_tell_versions_and_codings() {
        let time = UNIX_EPOCH + Duration::from_secs(MODIFIED);
        let later = time + Duration::from_millis(1);
        let now = time + Duration::from_secs(60);
        let tag = |modified, coding| of_file(modified, coding, now).etag();
        assert_eq!(tag(time, None), "\"663df020.0-0\"");
        assert_eq!(tag(time, Some(Coding::Gzip)), "\"663df020.0-0-gzip\"");
        assert_ne!(tag(time, None), tag(later, None));
        let longer = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(longer.path(), "x").unwrap();
        File::options().write(true).open(longer.path()).unwrap().set_modified(time).unwrap();
        let longer = Validators::new(&longer.path().metadata().unwrap(), None, now);
        assert_ne!(longer.etag(), tag(time, None));
    }

    #[test]
    fn a_new_file_has_a_weak_tag() {
        let time = UNIX_EPOCH + Duration::from_secs(MODIFIED);
        let tag = |age: u64| of_file(time, None, time + Duration::from_millis(age)).etag();
        assert_eq!(tag(999), "W/\"663df020.0-0\"");
        assert_eq!(tag(1000), "\"663df020.0-0\"");
    }

    #[test]
    fn last_modified_is_never_in_the_future_or_before_1970() {
        let now = UNIX_EPOCH + Duration::from_secs(MODIFIED);
        let date = |modified| of_file(modified, None, now).last_modified();
        assert_eq!(date(now - Duration::from_millis(1)).unwrap(), BEFORE);
        assert_eq!(date(now).unwrap(), SAME);
        assert_eq!(date(now + Duration::from_secs(400_000_000)).unwrap(), SAME);
        assert_eq!(date(UNIX_EPOCH).unwrap(), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date(UNIX_EPOCH - Duration::from_secs(1)), None);
    }

    /// Bytes of any kind, and such as are nearly tags.
    fn any_value() -> impl Strategy<Value = Vec<u8>> {
        let nearly = "[W/\"a, *]{0,20}".prop_map(String::into_bytes);
        prop_oneof![proptest::collection::vec(any::<u8>(), 0..40), nearly]
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(lines in proptest::collection::vec((0usize..5, any_value()), 0..4)) {
            let names = [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE];
            let valid = lines.iter().filter(|(_, value)| HeaderValue::from_bytes(value).is_ok());
            let head = head_with(valid.map(|(name, value)| (names[*name], &value[..]))).unwrap();
            judge(&head, &validators());
            range_applies(&head, &validators().strong());
        }

        #[test]
        fn a_tag_is_found_in_any_list(before in "([!a-z,]{0,5})", after in "[!a-z,]{0,5}", weak in any::<bool>()) {
            let list = format!("\"x{before}\", {}\"a\" , W/\"{after}\"", if weak { "W/" } else { "" });
            prop_assert_eq!(verdict(&[(IF_NONE_MATCH, &list)]), Verdict::NotModified);
            let strong = !weak;
            prop_assert_eq!(verdict(&[(IF_MATCH, &list)]) == Verdict::Perform, strong);
        }

        #[test]
        fn what_was_sent_comes_back_as_not_modified(nanoseconds in 0u64..4_000_000_000_000_000_000) {
            let modified = UNIX_EPOCH + Duration::from_nanos(nanoseconds);
            let validators = of_file(modified, None, modified + Duration::from_secs(9));
            let (tag, date) = (validators.etag(), validators.last_modified().unwrap());
            let (tag, date) = (HeaderValue::try_from(tag).unwrap(), HeaderValue::try_from(date).unwrap());
            for (name, value) in [(IF_NONE_MATCH, &tag), (IF_MODIFIED_SINCE, &date)] {
                let request = headers(&[(name, value.to_str().unwrap())]);
                prop_assert_eq!(judge(&request, &validators), Verdict::NotModified);
            }
            for value in [tag, date] {
                prop_assert!(range_applies(&headers(&[(IF_RANGE, value.to_str().unwrap())]), &validators.strong()));
            }
        }
    }
}
