//! What the server itself tells a reader.

use std::sync::Arc;

use bytes::Bytes;

use super::cursor::Cursor;
use super::draft::EventName;
use super::encoding::{Encoder, Encoding, Payload, Shape};
use crate::base::json;

/// What the server tells one reader only. It is not in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// `push.open`, a reader's first notice: its cursor, and whether it gets what it has missed.
    Open {
        /// The reader's cursor. The client resumes from here, if nothing else comes.
        cursor: Cursor,
        /// Whether the reader gets everything that it has missed. `None` on a first visit.
        recovered: Option<bool>,
        /// Channels in which messages are missing.
        gap: Vec<Arc<str>>,
        /// The process of the client's session has died, so what the app had written and the client has not got is lost.
        lost: bool,
    },
    /// `push.gap`: of a channel messages are missing.
    Gap {
        /// The channel's name.
        channel: Arc<str>,
        /// Where the client stands from now on, if that has changed: the log has begun anew.
        cursor: Option<Cursor>,
    },
    /// `push.drop`: a slow reader has skipped messages.
    Drop {
        /// The channel's name.
        channel: Arc<str>,
        /// How many messages.
        count: u64,
    },
    /// `push.here`: the members that are present.
    Here {
        /// The channel's name.
        channel: Arc<str>,
        /// Each member's name and information (JSON).
        members: Vec<(Arc<str>, Arc<str>)>,
    },
}

impl Notice {
    /// The channel that the notice is about. `None` for `push.open`, which is about all channels.
    pub(super) fn channel(&self) -> Option<&Arc<str>> {
        match self {
            Notice::Open { .. } => None,
            Notice::Gap { channel, .. } | Notice::Drop { channel, .. } | Notice::Here { channel, .. } => Some(channel),
        }
    }

    /// How many missing messages it reports.
    #[cfg(test)]
    pub(super) fn count(&self) -> u64 {
        if let Notice::Drop { count, .. } = self { *count } else { 0 }
    }

    /// Adds the notice to those that a reader has not got yet. There is one of each kind for each channel. Otherwise
    /// they would grow without a bound while a reader reads nothing.
    pub(super) fn join(mut self, waiting: &mut Vec<Notice>) {
        let same = |other: &Notice| {
            std::mem::discriminant(other) == std::mem::discriminant(&self) && other.channel() == self.channel()
        };
        if let Some(older) = waiting.iter().position(same) {
            match (waiting.remove(older), &mut self) {
                (Notice::Drop { count: before, .. }, Notice::Drop { count, .. }) => *count += before,
                (Notice::Gap { cursor: before, .. }, Notice::Gap { cursor, .. }) => *cursor = cursor.or(before),
                _ => {}
            }
        }
        waiting.push(self);
    }

    /// An estimate of its bytes, which a batch counts before the notice is encoded.
    pub(super) fn estimate(&self) -> usize {
        let names = |names: &[Arc<str>]| names.iter().map(|name| name.len() + 3).sum::<usize>();
        64 + match self {
            Notice::Open { gap, .. } => names(gap),
            Notice::Gap { channel, .. } | Notice::Drop { channel, .. } => channel.len(),
            Notice::Here { channel, members } => {
                channel.len() + members.iter().map(|(name, info)| name.len() + info.len() + 4).sum::<usize>()
            }
        }
    }

    /// Gives `sink` the notice in the given encoding. Returns its bytes. Raw WebSockets get nothing.
    pub(super) fn emit(&self, encoding: Encoding, encoder: &Encoder, sink: &mut impl FnMut(Bytes)) -> usize {
        if encoding.shape == Shape::Raw {
            return 0;
        }
        let (event, seq) = match self {
            Notice::Open { cursor, .. } => ("push.open", Some(cursor.seq)),
            Notice::Gap { cursor, .. } => ("push.gap", cursor.map(|cursor| cursor.seq)),
            Notice::Drop { .. } => ("push.drop", None),
            Notice::Here { .. } => ("push.here", None),
        };
        encoder.block(seq, EventName::Given(event), &Payload::Text(self.json().as_bytes())).emit(encoding, sink)
    }

    fn json(&self) -> String {
        let mut json = String::from("{");
        match self {
            Notice::Open { recovered, gap, lost, .. } => {
                json.push_str("\"recovered\":");
                json.push_str(recovered.map_or("null", |recovered| if recovered { "true" } else { "false" }));
                json.push_str(",\"gap\":[");
                for (index, channel) in gap.iter().enumerate() {
                    if index > 0 {
                        json.push(',');
                    }
                    json::put_string(&mut json, channel);
                }
                json.push(']');
                if *lost {
                    json.push_str(",\"lost\":true");
                }
            }
            Notice::Gap { channel, .. } => put_channel(&mut json, channel),
            Notice::Drop { channel, count } => {
                put_channel(&mut json, channel);
                json.push_str(",\"count\":");
                json.push_str(&count.to_string());
            }
            Notice::Here { channel, members } => {
                put_channel(&mut json, channel);
                json.push_str(",\"members\":{");
                for (index, (name, info)) in members.iter().enumerate() {
                    if index > 0 {
                        json.push(',');
                    }
                    json::put_string(&mut json, name);
                    json.push(':');
                    json.push_str(info);
                }
                json.push('}');
            }
        }
        json.push('}');
        json
    }
}

fn put_channel(json: &mut String, channel: &str) {
    json.push_str("\"channel\":");
    json::put_string(json, channel);
}

#[cfg(test)]
mod tests {
    use super::super::cursor::Epoch;
    use super::*;

    #[test]
    fn of_a_kind_and_channel_one_waits() {
        let dropped = |channel: &str, count| Notice::Drop { channel: channel.into(), count };
        let gap = |channel: &str| Notice::Gap { channel: channel.into(), cursor: None };
        let here = |name: &str| Notice::Here { channel: "a".into(), members: vec![(name.into(), "1".into())] };
        let mut waiting = Vec::new();
        for notice in [dropped("a", 1), here("{1}"), gap("a"), dropped("b", 2), dropped("a", 3), here("{2}")] {
            notice.join(&mut waiting);
        }
        assert_eq!(waiting, [gap("a"), dropped("b", 2), dropped("a", 4), here("{2}")]);
    }

    #[test]
    fn what_clients_read() {
        let cursor = Cursor { epoch: Epoch::from(1), seq: 9 };
        let open = |recovered, gap| Notice::Open { cursor, recovered, gap, lost: false };
        let rows = [
            (open(None, vec![]), "id: 1-9\nevent: push.open\ndata: {\"recovered\":null,\"gap\":[]}\n\n"),
            (
                open(Some(false), vec!["a".into(), "b\"".into()]),
                "id: 1-9\nevent: push.open\ndata: {\"recovered\":false,\"gap\":[\"a\",\"b\\\"\"]}\n\n",
            ),
            (
                Notice::Open { cursor, recovered: Some(true), gap: vec![], lost: true },
                "id: 1-9\nevent: push.open\ndata: {\"recovered\":true,\"gap\":[],\"lost\":true}\n\n",
            ),
            (Notice::Gap { channel: "a".into(), cursor: None }, "event: push.gap\ndata: {\"channel\":\"a\"}\n\n"),
            (
                Notice::Gap { channel: "a".into(), cursor: Some(cursor) },
                "id: 1-9\nevent: push.gap\ndata: {\"channel\":\"a\"}\n\n",
            ),
            (
                Notice::Drop { channel: "a".into(), count: 3 },
                "event: push.drop\ndata: {\"channel\":\"a\",\"count\":3}\n\n",
            ),
            (
                Notice::Here {
                    channel: "a".into(),
                    members: vec![("u\"7".into(), "{}".into()), ("b".into(), "1".into())],
                },
                "event: push.here\ndata: {\"channel\":\"a\",\"members\":{\"u\\\"7\":{},\"b\":1}}\n\n",
            ),
        ];
        let encoder = Encoder::new(Epoch::from(1), Some("default"));
        for (notice, expected) in rows {
            let mut out = Vec::new();
            notice.emit(Shape::EventStream.into(), &encoder, &mut |bytes| out.extend_from_slice(&bytes));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
            assert_eq!(notice.emit(Shape::Raw.into(), &encoder, &mut |_| panic!()), 0);
        }
    }
}
