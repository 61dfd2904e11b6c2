//! The date and time in a line.

use std::fmt::Write as _;
use std::time::SystemTime;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Appends the local time as Apache writes it: `10/Oct/2000:13:55:36 -0700`.
pub(super) fn put_local(text: &mut String, time: SystemTime) {
    let (seconds, _) = since_epoch(time);
    let tm = broken_down(seconds, libc::localtime_r);
    let month = usize::try_from(tm.tm_mon).ok().and_then(|month| MONTHS.get(month)).unwrap_or(&"???");
    let minutes = tm.tm_gmtoff / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    let _ = write!(
        text,
        "{:02}/{month}/{:04}:{:02}:{:02}:{:02} {sign}{:02}{:02}",
        tm.tm_mday,
        tm.tm_year + 1900,
        tm.tm_hour,
        tm.tm_min,
        tm.tm_sec,
        minutes.abs() / 60,
        minutes.abs() % 60
    );
}

/// Appends the time in UTC as RFC 3339 writes it: `2000-10-10T20:55:36.123Z`.
pub(super) fn put_utc(text: &mut String, time: SystemTime) {
    let (seconds, milliseconds) = since_epoch(time);
    let tm = broken_down(seconds, libc::gmtime_r);
    let _ = write!(
        text,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{milliseconds:03}Z",
        tm.tm_year + 1900,
        tm.tm_mon + 1,
        tm.tm_mday,
        tm.tm_hour,
        tm.tm_min,
        tm.tm_sec
    );
}

fn since_epoch(time: SystemTime) -> (libc::time_t, u32) {
    let passed = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (libc::time_t::try_from(passed.as_secs()).unwrap_or(libc::time_t::MAX), passed.subsec_millis())
}

type BreakDown = unsafe extern "C" fn(*const libc::time_t, *mut libc::tm) -> *mut libc::tm;

fn broken_down(seconds: libc::time_t, break_down: BreakDown) -> libc::tm {
    // SAFETY: all zeros is a valid tm: numbers, and a pointer that may be null.
    let mut tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call. If a year does not fit, `tm` stays as it is.
    unsafe { break_down(&raw const seconds, &raw mut tm) };
    tm
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const TIME: Duration = Duration::from_millis(971_211_336_123);

    #[test]
    fn local_time_has_its_offset() {
        let mut text = String::new();
        put_local(&mut text, SystemTime::UNIX_EPOCH + TIME);
        let (date, offset) = text.split_once(' ').unwrap();
        assert!(offset.starts_with(['+', '-']) && offset.len() == 5, "{text}");
        assert!(date.len() == "10/Oct/2000:13:55:36".len() && date[3..].starts_with("Oct/2000:"), "{text}");
    }

    #[test]
    fn utc_has_milliseconds() {
        let mut text = String::new();
        put_utc(&mut text, SystemTime::UNIX_EPOCH + TIME);
        assert_eq!(text, "2000-10-10T20:55:36.123Z");
    }
}
