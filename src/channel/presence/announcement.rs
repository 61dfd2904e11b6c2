//! The messages by which the readers of a channel hear of a member.

use std::sync::Arc;

use crate::base::json;

/// A member of a channel has joined or left. The channel's readers get this as a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::channel) struct Announcement {
    pub(in crate::channel) channel: Arc<str>,
    pub(in crate::channel) member: Arc<str>,
    /// The information (JSON) of a member that joins; `None` if the member leaves.
    pub(in crate::channel) info: Option<Arc<str>>,
    /// The client that does not get the message.
    pub(in crate::channel) except: Option<u64>,
}

impl Announcement {
    /// The name of the message's event.
    pub(in crate::channel) fn event(&self) -> &'static str {
        if self.info.is_some() { "push.join" } else { "push.leave" }
    }

    /// The data of the message: JSON.
    pub(in crate::channel) fn payload(&self) -> String {
        let mut json = String::from("{\"channel\":");
        json::put_string(&mut json, &self.channel);
        json.push_str(",\"member\":");
        json::put_string(&mut json, &self.member);
        if let Some(info) = &self.info {
            json.push_str(",\"info\":");
            json.push_str(info);
        }
        json.push('}');
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_of_a_join_and_of_a_leave() {
        let join = Announcement { channel: "b".into(), member: "u1".into(), info: Some("{}".into()), except: None };
        assert_eq!(
            (join.event(), &*join.payload()),
            ("push.join", "{\"channel\":\"b\",\"member\":\"u1\",\"info\":{}}")
        );
        let leave = Announcement { channel: "b".into(), member: "u\"1".into(), info: None, except: None };
        assert_eq!((leave.event(), &*leave.payload()), ("push.leave", "{\"channel\":\"b\",\"member\":\"u\\\"1\"}"));
    }
}
