//! What a worker, or the hub before, has kept of the log; and how several of them become one log again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::super::author::HUB;
use super::super::protocol::{Frame, Known, Position};
use crate::channel::{Forgotten, Limits, Message, PresentMember, codec};

/// A message of the newest part of a log.
#[derive(Debug)]
pub(super) struct Recent {
    pub(super) author: u128,
    pub(super) count: u64,
    pub(super) message: Box<[u8]>,
}

/// A report, as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// What the sender has taken.
    pub(super) position: Option<Position>,
    /// It has all messages after this number.
    after: u64,
    messages: Vec<(u64, Recent)>,
    floors: HashMap<Box<str>, u64>,
    forgotten: Option<Forgotten>,
    kept: Vec<Arc<Message>>,
    members: Vec<PresentMember>,
    authors: Vec<Known>,
    /// The hub before says how far its log was stable. A worker names only authors whose messages are not.
    stable: u64,
    ended: bool,
}

impl Report {
    /// Takes the next frame. Returns false if the frame does not belong here.
    pub(super) fn take(&mut self, frame: Frame<'_>, limits: &Limits, now: (Instant, SystemTime)) -> bool {
        match frame {
            Frame::Report { position, after } => {
                *self = Report { position, after, ..Report::default() };
            }
            Frame::Message { seq, author, count, message } => {
                self.messages.push((seq, Recent { author, count, message: message.into() }));
            }
            Frame::Floors(floors) => {
                self.floors.extend(floors.into_iter().map(|(floor, name)| (name.into(), floor)));
            }
            Frame::Forgotten { key, floors } => self.forgotten = Forgotten::from_parts(key, floors),
            Frame::Kept { seq, message } => match decoded(message, seq, limits, now) {
                Some(message) => self.kept.push(message),
                None => return false,
            },
            Frame::Stable { seq } => self.stable = seq,
            Frame::Members(members) => self.members.extend(members),
            Frame::Authors(authors) => self.authors.extend(authors),
            Frame::End => self.ended = true,
            _ => return false,
        }
        true
    }

    /// Whether the report is complete.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    fn last(&self) -> u64 {
        self.position.map_or(0, |position| position.last)
    }

    /// The floor of a channel, by what this report knows.
    fn floor(&self, name: &str) -> Option<u64> {
        self.floors.get(name).copied().or_else(|| self.forgotten.as_ref().map(|forgotten| forgotten.floor(name)))
    }
}

/// A message from its bytes, with its number. `None` if the bytes are not a message, or if it does not fit.
pub(super) fn decoded(bytes: &[u8], seq: u64, limits: &Limits, now: (Instant, SystemTime)) -> Option<Arc<Message>> {
    let (decoded, _) = codec::decode(bytes, usize::MAX).ok()?.filter(|(_, length)| *length == bytes.len())?;
    let message = Message::new(&decoded.draft, limits, decoded.published_at(now)).ok()?;
    message.number(seq);
    Some(message)
}

/// The log that several reports give together.
#[derive(Debug)]
pub(super) struct Union {
    /// The highest number that a process has taken.
    pub(super) last: u64,
    /// All messages after this number are in `messages`.
    pub(super) start: u64,
    pub(super) messages: BTreeMap<u64, Recent>,
    pub(super) floors: HashMap<Box<str>, u64>,
    pub(super) forgotten: Forgotten,
    /// The messages that channels have kept, by number.
    pub(super) kept: BTreeMap<u64, Arc<Message>>,
    /// The members at the end of the log.
    pub(super) members: Vec<PresentMember>,
    pub(super) authors: Vec<Known>,
    /// How far the log of the hub before was stable.
    pub(super) stable: u64,
    /// Those of them that may not have been answered.
    pub(super) unanswered: Vec<Known>,
}

impl Union {
    /// Puts reports of one epoch together. Each has a position.
    pub(super) fn of(mut reports: Vec<Report>) -> Self {
        let last = reports.iter().map(Report::last).max().unwrap_or(0);
        let mut start = last;
        while let Some(report) = reports.iter().find(|report| report.last() >= start && report.after < start) {
            start = report.after;
        }
        // A report that ends before knows nothing of what came between.
        reports.retain(|report| report.last() >= start);
        let mut forgotten: Option<Forgotten> = None;
        for report in &mut reports {
            let Some(own) = &report.forgotten else { continue };
            let comparable = forgotten.get_or_insert_with(|| own.clone()).lower_to(own);
            if !comparable {
                // Without a common key, nothing can be said about what the report does not list.
                report.forgotten = None;
            }
        }
        let mut floors = HashMap::new();
        for name in reports.iter().flat_map(|report| report.floors.keys()) {
            let floor = reports.iter().filter_map(|report| report.floor(name)).min();
            // All messages after `start` are there, also those that no channel has kept.
            floors.insert(name.clone(), floor.unwrap_or(last).min(start));
        }
        let mut forgotten = forgotten.unwrap_or_else(|| Forgotten::all(last));
        forgotten.lower_all(start);
        let mut union = Union {
            last,
            start,
            messages: BTreeMap::new(),
            floors,
            forgotten,
            kept: BTreeMap::new(),
            members: Vec::new(),
            authors: Vec::new(),
            stable: 0,
            unanswered: Vec::new(),
        };
        for mut report in reports {
            // Those that have taken all have the same members.
            if report.last() == last {
                union.members = std::mem::take(&mut report.members);
            }
            union.messages.extend(report.messages.into_iter().filter(|(seq, _)| *seq > start && *seq <= last));
            union.kept.extend(report.kept.into_iter().map(|message| (message.seq(), message)));
            union.stable = union.stable.max(report.stable);
            union.unanswered.extend(report.authors.iter().filter(|known| known.seq > report.stable));
            union.authors.extend(report.authors);
        }
        let recent = |(seq, recent): (&u64, &Recent)| Known { author: recent.author, count: recent.count, seq: *seq };
        let recent: Vec<_> = union.messages.iter().map(recent).collect();
        union.authors.extend(&recent);
        union.unanswered.extend(&recent);
        // Nobody sends the commands of a hub again.
        union.authors.retain(|known| known.author != HUB);
        union.unanswered.retain(|known| known.author != HUB);
        union
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Draft;

    fn message(channel: &str, seq: u64) -> Arc<Message> {
        let message = Message::new(&Draft::text(channel, b"x"), &Limits::default(), Instant::now()).unwrap();
        message.number(seq);
        message
    }

    /// A worker that has the log up to `last`, the messages themselves after `after`, and this kept in "c" above a floor.
    fn report(last: u64, after: u64, floor: Option<u64>, kept: &[u64], forgotten: &Forgotten) -> Report {
        let recent = |seq| (seq, Recent { author: 1, count: seq, message: Box::default() });
        Report {
            position: Some(Position { epoch: 1, last }),
            after,
            messages: (after + 1..=last).map(recent).collect(),
            floors: floor.map(|floor| ("c".into(), floor)).into_iter().collect(),
            forgotten: Some(forgotten.clone()),
            kept: kept.iter().map(|seq| message("c", *seq)).collect(),
            members: Vec::new(),
            authors: Vec::new(),
            stable: 0,
            ended: true,
        }
    }

    #[test]
    fn the_tail_reaches_back_as_far_as_reports_touch() {
        let none = Forgotten::all(0);
        let union = |reports: &[(u64, u64)]| {
            let union =
                Union::of(reports.iter().map(|(last, after)| report(*last, *after, None, &[], &none)).collect());
            (union.last, union.start, union.messages.len())
        };
        assert_eq!(union(&[(10, 7)]), (10, 7, 3));
        assert_eq!(union(&[(10, 7), (9, 3)]), (10, 3, 7));
        assert_eq!(union(&[(10, 7), (7, 3)]), (10, 3, 7));
        // Nobody has the message 7.
        assert_eq!(union(&[(10, 7), (6, 3)]), (10, 7, 3));
        assert_eq!(union(&[(5, 5), (5, 5)]), (5, 5, 0));
        assert_eq!(union(&[]), (0, 0, 0));
    }

    #[test]
    fn the_worker_that_kept_most_says_what_a_channel_has() {
        let mut forgotten = Forgotten::all(2);
        forgotten.raise("c", 8);
        let union = Union::of(vec![
            report(10, 9, Some(6), &[7, 8], &forgotten),
            report(10, 9, Some(3), &[5, 7, 8], &forgotten),
            report(10, 9, None, &[], &forgotten),
        ]);
        assert_eq!((union.floors["c"], union.kept.keys().copied().collect::<Vec<_>>()), (3, vec![5, 7, 8]));
        // A worker that forgot the channel when it had no message above 2 is right about it.
        let union = Union::of(vec![
            report(10, 9, Some(6), &[], &Forgotten::all(2)),
            report(10, 9, None, &[], &Forgotten::all(2)),
        ]);
        // The keys differ, so only the list counts.
        assert_eq!(union.floors["c"], 6);
    }

    #[test]
    fn a_worker_that_lagged_too_far_says_nothing_about_floors() {
        let none = Forgotten::all(0);
        let union = Union::of(vec![report(10, 9, Some(8), &[10], &none), report(5, 4, Some(1), &[3], &none)]);
        assert_eq!((union.floors["c"], union.kept.len(), union.start), (8, 1, 9));
    }
}
