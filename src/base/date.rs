//! The Date of a response (RFC 9110 section 6.6.1), made once a second.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::timers::Stamp;

/// The form of Date: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub type HttpDate = [u8; 29];

/// The date of the current second, and when that second ends: in nanoseconds, as stamps count.
#[derive(Debug, Clone, Copy)]
struct Second {
    date: HttpDate,
    ends: u64,
}

thread_local! {
    static LAST: Cell<Second> = const { Cell::new(Second { date: *b"Thu, 01 Jan 1970 00:00:00 GMT", ends: 0 }) };
}

/// The date at a stamp of a moment ago. A thread asks the system for the time only once a second: so a clock that was set
/// shows within a second.
pub fn at(stamp: Stamp) -> HttpDate {
    let last = LAST.get();
    if stamp.nanoseconds() < last.ends { last.date } else { read_clock() }
}

/// The date now. Any thread.
pub fn now() -> HttpDate {
    at(Stamp::of(Instant::now()))
}

#[cold]
fn read_clock() -> HttpDate {
    let began = Stamp::of(Instant::now()).nanoseconds();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = Duration::from_secs(1) - Duration::from_nanos(since.subsec_nanos().into());
    let text = httpdate::fmt_http_date(UNIX_EPOCH + since);
    let mut last = LAST.get();
    // It always has this length.
    if let Ok(date) = text.as_bytes().try_into() {
        last = Second { date, ends: began + left.as_nanos() as u64 };
    }
    LAST.set(last);
    last.date
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(date: HttpDate) -> u64 {
        let time = httpdate::parse_http_date(std::str::from_utf8(&date).unwrap()).unwrap();
        time.duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    #[test]
    fn the_date_is_that_of_now() {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let date = seconds(now());
        let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!((before..=after).contains(&date), "{before} {date} {after}");
    }

    #[test]
    fn a_second_is_used_until_it_ends() {
        let stamp = Stamp::of(Instant::now());
        let made_up = Second { date: *b"Sun, 06 Nov 1994 08:49:37 GMT", ends: stamp.nanoseconds() + 1 };
        LAST.set(made_up);
        assert_eq!(at(stamp), made_up.date);
        LAST.set(Second { ends: stamp.nanoseconds(), ..made_up });
        assert_ne!(at(stamp), made_up.date);
        assert!(LAST.get().ends > stamp.nanoseconds(), "the next stamp of this second needs no clock");
    }
}
