//! A hub takes the place of another one: reports come, and become one log.
//!
//! * All messages that a worker has taken are known from reports, so no author's message gets a second number.
//! * Numbers go on behind the number store's, so no number is used for two messages.
//! * A worker that is gone may have given its clients messages that no process has any more. The number store says up to which
//!   number. If that is higher than all reports, the log gets a new epoch, and clients are told of a gap. Otherwise the
//!   epoch stays.
//! * Every process has the same members at the same number, so those of the report that ends last are right.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::super::author;
use super::super::protocol::Frame;
use super::peer::{Absent, Kind, PeerId};
use super::report::{Report, Union, decoded};
use super::state::{Hub, Phase};
use super::tail::Tail;
use crate::channel::{Archive, Epoch, Message, Reset, codec};

/// How often in a row the hub looks for bytes of a worker, before it goes on without the worker. It looks four times in
/// [`super::Settings::patience`].
const SILENT: u32 = 4;

/// The same, of a worker that the supervisor has not connected yet.
const UNCONNECTED: u32 = 40;

impl Hub {
    /// Begins an empty log, in a new epoch. Numbers go on.
    pub(super) fn begin(&mut self, epoch: Epoch) {
        self.last = self.numbers.last();
        self.used = self.last;
        self.epoch = epoch;
        self.numbers.begin(epoch, self.last);
        self.tail = Tail::new(self.last);
        (self.answerable, self.stable) = (self.last, self.last);
        self.phase = Phase::Serving;
    }

    /// Asks a worker for its report, if the hub needs it and the worker has one.
    pub(super) fn ask_for_report(&mut self, id: PeerId) {
        let epoch = self.numbers.epoch().map(u64::from);
        let Phase::Recovering { expected, empty, handover: false, .. } = &mut self.phase else { return };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let (Kind::Worker(process), Some(hello)) = (peer.kind, peer.hello) else { return };
        if !expected.contains(&process) || peer.report.is_some() {
            return;
        }
        if hello.position.map(|position| position.epoch) == epoch {
            peer.report = Some(Report::default());
            peer.send(&Frame::AskReport);
            self.list(id);
        } else {
            // It has not got the log yet.
            expected.remove(&process);
            empty.insert(process);
        }
    }

    /// Asks all workers that have connected.
    pub(super) fn ask_for_reports(&mut self) {
        self.peers.keys().copied().collect::<Vec<_>>().into_iter().for_each(|id| self.ask_for_report(id));
    }

    /// A part of a report has come.
    pub(super) fn take_report(&mut self, id: PeerId, frame: Frame<'_>) -> Result<(), String> {
        let (limits, now) = (self.limits, self.now);
        let Some(peer) = self.peers.get_mut(&id) else { return Ok(()) };
        let Some(report) = &mut peer.report else { return Err("an unexpected frame".to_owned()) };
        let Phase::Recovering { expected, empty, handover, reports, .. } = &mut self.phase else {
            // It has come too late.
            return Ok(());
        };
        if !report.take(frame, &limits, now) {
            return Err("an unexpected frame in a report".to_owned());
        }
        if !report.ended() {
            return Ok(());
        }
        let (report, epoch) = (std::mem::take(report), self.numbers.epoch().map(u64::from));
        let ours = report.position.map(|position| position.epoch) == epoch;
        match peer.kind {
            Kind::Worker(process) if expected.remove(&process) => {
                if ours {
                    reports.push((Some(process), report));
                } else {
                    empty.insert(process);
                }
            }
            Kind::OldHub => {
                *handover = false;
                if ours {
                    expected.clear();
                    reports.push((None, report));
                } else {
                    self.ask_for_reports();
                }
            }
            _ => {}
        }
        self.finish_recovery();
        Ok(())
    }

    /// Workers that say nothing are not waited for. `since` is when the hub has looked for them the last time. Looks are
    /// counted, and not the time: this process may have been paused itself.
    pub(super) fn lose_silent_workers(&mut self, since: Instant) {
        let Phase::Recovering { expected, handover: false, silent, .. } = &mut self.phase else { return };
        let before = expected.len();
        let mut lost = Vec::new();
        for process in expected.iter().copied() {
            let own = self.peers.values().filter(|peer| peer.kind == Kind::Worker(process));
            let heard = own.map(|peer| peer.heard).max();
            let looks = silent.entry(process).or_default();
            *looks = if heard.is_some_and(|heard| heard >= since) { 0 } else { *looks + 1 };
            if *looks >= if heard.is_some() { SILENT } else { UNCONNECTED } {
                lost.push(process);
            }
        }
        for process in lost {
            log::warn!(
                "the worker with the process number {process} does not answer the new hub, which goes on without it"
            );
            expected.remove(&process);
        }
        if expected.len() < before {
            self.finish_recovery();
        }
    }

    /// Makes one log of the reports, if all have come.
    pub(super) fn finish_recovery(&mut self) {
        let Phase::Recovering { expected, empty, handover: false, reports, .. } = &mut self.phase else { return };
        if !expected.is_empty() {
            return;
        }
        let reports = std::mem::take(reports);
        let mut reporting = std::mem::take(empty);
        reporting.extend(reports.iter().filter_map(|(process, _)| *process));
        let handed = reports.iter().any(|(process, _)| process.is_none());
        let none = reports.is_empty();
        let mut union = Union::of(reports.into_iter().map(|(_, report)| report).collect());
        let seen = self.numbers.seen_by_others(&reporting);
        let lost = !handed && (none || seen > union.last);
        // The log ends with the last message that there is. A worker that waits for a higher number would wait for ever.
        (self.last, self.used) = (union.last, self.numbers.last().max(union.last));
        if lost {
            log::warn!("a worker has ended together with the hub, so messages may be lost: clients are told of a gap");
            self.begin(Epoch::new());
        } else {
            self.epoch = self.numbers.epoch().unwrap_or_default();
            self.numbers.resume(&self.returning.0);
            self.tail = Tail::new(union.start);
            for (seq, recent) in &union.messages {
                self.tail.push(*seq, recent.author, recent.count, &recent.message);
            }
            self.tail.close();
            self.stable = union.start;
            self.phase = Phase::Serving;
        }
        // What only the hub before had, no worker may have yet.
        self.answerable = if handed && !lost { union.stable } else { self.last };
        self.returning.1 = self.now.0 + self.settings.patience;
        let until = self.now.0 + self.settings.absence;
        union.authors.iter().for_each(|known| self.authors.know(*known));
        for known in &union.unanswered {
            let absent = Absent { oldest: known.seq, until, process: None };
            let absent = self.absent.entry(author::process_of(known.author)).or_insert(absent);
            absent.oldest = absent.oldest.min(known.seq);
            self.stable = self.stable.min(known.seq - 1);
        }
        let here = self.peers.values().filter_map(|peer| peer.hello);
        here.for_each(|hello| _ = self.absent.remove(&author::process_of(hello.author)));
        #[cfg(test)]
        {
            self.began = (!none).then_some(union.last);
        }
        let members = std::mem::take(&mut union.members);
        self.rebuild(union, none);
        // Before the welcome: a worker that needs a log as a whole gets the members with it.
        self.take_members(members);
        self.welcome_all();
        self.progress();
    }

    /// Fills the archive.
    fn rebuild(&mut self, union: Union, empty: bool) {
        let Union { last, messages, floors, forgotten, mut kept, .. } = union;
        self.archive = Archive::with_floors(self.epoch, self.last, self.limits, self.settings.floors);
        self.rules.apply(&mut self.archive);
        let mut passed: BTreeMap<u64, Box<str>> = BTreeMap::new();
        for (seq, recent) in &messages {
            let Ok(Some((decoded_bytes, _))) = codec::decode(&recent.message, usize::MAX) else { continue };
            let draft = decoded_bytes.draft;
            if !draft.store || kept.contains_key(seq) {
                continue;
            }
            if self.archive.keeps(draft.channel) {
                kept.extend(decoded(&recent.message, *seq, &self.limits, self.now).map(|message| (*seq, message)));
            } else {
                passed.insert(*seq, draft.channel.into());
            }
        }
        let floor = |name: Box<str>, floor| (Arc::<str>::from(name), floor);
        let history: Vec<Arc<Message>> = kept.into_values().collect();
        self.archive.replace(Reset {
            epoch: self.epoch,
            last,
            forgotten: if empty { self.archive.forgotten().clone() } else { forgotten },
            floors: floors.into_iter().map(|(name, own)| floor(name, own)).collect(),
            history,
            members: Vec::new(),
        });
        passed.into_iter().for_each(|(seq, channel)| self.archive.pass(&channel, seq));
        self.archive.advance(self.last);
    }
}
