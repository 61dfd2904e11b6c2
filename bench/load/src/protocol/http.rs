//! HTTP/1.1: requests, and the answers to them.

/// A GET request.
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").into_bytes()
}

/// A POST request with a body.
pub fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/octet-stream\r\n\
         content-length: {length}\r\n\r\n"
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The status.
    pub status: u16,
    /// The lines of the header fields, with their ends.
    fields: &'a [u8],
    /// How many bytes the head has.
    pub length: usize,
}

impl<'a> Head<'a> {
    /// The head that `bytes` begin with; `None` if its end has not come.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Self>, String> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let wrong = || format!("not an answer of HTTP/1.1: {:?}", crate::failure::excerpt(bytes));
        let line_end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(wrong)?;
        let code = bytes.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3)).ok_or_else(wrong)?;
        let status = std::str::from_utf8(code).ok().and_then(|code| code.parse().ok()).ok_or_else(wrong)?;
        Ok(Some(Head { status, fields: &bytes[line_end + 1..end + 2], length: end + 4 }))
    }

    /// The value of a header field.
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.fields.split(|byte| *byte == b'\n').find_map(|line| {
            let (field, value) = line.split_at_checked(name.len())?;
            let value = value.strip_prefix(b":")?;
            field.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
        })
    }
}

/// A whole answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: &'a [u8],
    /// Whether the server closes the connection after it.
    pub closes: bool,
    /// How many bytes the answer has.
    pub length: usize,
}

/// Reads answers. A head differs from the one before only once a second, when the date changes. So the last head is kept,
/// and the next one is compared with it instead of being parsed.
#[derive(Debug, Default)]
pub struct Reader {
    head: Vec<u8>,
    status: u16,
    closes: bool,
    body: usize,
}

impl Reader {
    /// The answer that `bytes` begin with; `None` if its end has not come.
    pub fn next<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Answer<'a>>, String> {
        if (self.head.is_empty() || !bytes.starts_with(&self.head)) && !self.read_head(bytes)? {
            return Ok(None);
        }
        let length = self.head.len() + self.body;
        let body = bytes.get(self.head.len()..length);
        Ok(body.map(|body| Answer { status: self.status, body, closes: self.closes, length }))
    }

    fn read_head(&mut self, bytes: &[u8]) -> Result<bool, String> {
        let Some(head) = Head::parse(bytes)? else { return Ok(false) };
        let value = head.field("content-length").ok_or("an answer without content-length")?;
        let value = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
        self.body = value.ok_or("an answer whose content-length is no number")?;
        self.status = head.status;
        self.closes = head.field("connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
        self.head.clear();
        self.head.extend_from_slice(&bytes[..head.length]);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length:  5\r\n\r\nhello";

    #[test]
    fn reads_an_answer_only_when_it_is_whole() {
        for end in 0..ANSWER.len() {
            assert_eq!(Reader::default().next(&ANSWER[..end]), Ok(None), "{end}");
        }
        let length = ANSWER.len();
        assert_eq!(
            Reader::default().next(ANSWER),
            Ok(Some(Answer { status: 200, body: b"hello", closes: false, length }))
        );
    }

    #[test]
    fn reads_another_head_after_the_one_it_remembers() {
        let mut reader = Reader::default();
        reader.next(ANSWER).unwrap();
        let other = b"HTTP/1.1 404 Not Found\r\nConnection: Close\r\ncontent-length: 0\r\n\r\nHTTP/1.1";
        let answer = Answer { status: 404, body: b"", closes: true, length: other.len() - 8 };
        assert_eq!(reader.next(other), Ok(Some(answer)));
        assert_eq!(reader.next(ANSWER).unwrap().unwrap().body, b"hello");
    }

    #[test]
    fn refuses_what_it_cannot_check() {
        assert!(Reader::default().next(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(Reader::default().next(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n").is_err());
        assert!(Reader::default().next(b"SSH-2.0\r\n\r\n").is_err());
    }

    #[test]
    fn finds_fields_by_their_whole_name() {
        let head = Head::parse(b"HTTP/1.1 200 OK\r\nX-Upgrade: no\r\nUPGRADE: yes\r\n\r\n").unwrap().unwrap();
        assert_eq!(head.field("upgrade"), Some(&b"yes"[..]));
        assert_eq!(head.field("x"), None);
    }
}
