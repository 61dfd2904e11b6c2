//! Accept-Encoding, RFC 9110 section 12.5.3, and the compressed files beside a file.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use crate::http::headers::{list, weighted};
use crate::request_head::RequestHead;

/// How a file can be compressed. The compressed file is made together with the others, before the server starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Brotli,
    Gzip,
}

impl Coding {
    /// The smaller result first, for clients without a preference.
    pub(super) const ALL: [Coding; 2] = [Coding::Brotli, Coding::Gzip];

    /// As Content-Encoding spells it.
    pub(super) fn token(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Gzip => "gzip",
        }
    }

    /// The name of the file beside `name` that is compressed so.
    pub(super) fn sibling(self, name: &Path) -> PathBuf {
        let mut name = name.as_os_str().to_owned();
        name.push(match self {
            Coding::Brotli => ".br",
            Coding::Gzip => ".gz",
        });
        PathBuf::from(name)
    }
}

/// The codings that the client prefers to the file as it is, or accepts as well as that; the best first.
pub(super) fn preferred(head: &RequestHead) -> Vec<Coding> {
    let weights = Weights::read(head);
    // The file as it is comes last if the header does not name it. It is sent even if the header refuses it: an answer in a
    // form that was not asked for is better than none (RFC 9110 section 12.1 leaves that open).
    let identity = weights.identity.or(weights.others).unwrap_or(0);
    let mut liked: Vec<_> = Coding::ALL.into_iter().map(|coding| (coding, weights.of(coding))).collect();
    liked.retain(|(_, weight)| *weight > 0 && *weight >= identity);
    liked.sort_by_key(|(_, weight)| Reverse(*weight));
    liked.into_iter().map(|(coding, _)| coding).collect()
}

/// The q-values of what can be had here, in thousandths.
#[derive(Debug, Default)]
struct Weights {
    brotli: Option<u16>,
    gzip: Option<u16>,
    identity: Option<u16>,
    others: Option<u16>,
}

impl Weights {
    fn read(head: &RequestHead) -> Self {
        let mut weights = Weights::default();
        for item in list(head, "accept-encoding") {
            let (coding, weight) = weighted(item);
            let slot = match coding.to_ascii_lowercase().as_str() {
                "br" => &mut weights.brotli,
                // RFC 9110 section 8.4.1.3.
                "gzip" | "x-gzip" => &mut weights.gzip,
                "identity" => &mut weights.identity,
                "*" => &mut weights.others,
                _ => continue,
            };
            slot.get_or_insert(weight);
        }
        weights
    }

    fn of(&self, coding: Coding) -> u16 {
        let named = match coding {
            Coding::Brotli => self.brotli,
            Coding::Gzip => self.gzip,
        };
        named.or(self.others).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request_head::for_tests::{head, head_with};
    use Coding::{Brotli, Gzip};
    use proptest::prelude::*;

    fn of(lines: &[&str]) -> Vec<Coding> {
        let lines: Vec<_> = lines.iter().map(|line| ("accept-encoding", *line)).collect();
        preferred(&head("GET", "/", &lines))
    }

    #[test]
    fn the_client_chooses() {
        assert_eq!(of(&["gzip, deflate, br"]), [Brotli, Gzip]);
        assert_eq!(of(&["gzip", "br;q=0.9"]), [Gzip, Brotli], "over several lines");
        assert_eq!(of(&["br;q=0.5, gzip;q=0.501"]), [Gzip, Brotli]);
        assert_eq!(of(&["GZip ; Q=1.000"]), [Gzip]);
        assert_eq!(of(&["x-gzip"]), [Gzip]);
        assert_eq!(of(&["gzip;q=0.001"]), [Gzip]);
        assert_eq!(of(&["*"]), [Brotli, Gzip]);
        assert_eq!(of(&["br;q=0, *"]), [Gzip]);
        assert_eq!(of(&["*;q=0.5, gzip"]), [Gzip, Brotli]);
    }

    #[test]
    fn none_without_being_asked_for() {
        for lines in [&[][..], &[""], &["deflate"], &["gzip;q=0"], &["gzip;q=0.000, *;q=0"], &["identity"]] {
            assert_eq!(of(lines), [], "{lines:?}");
        }
    }

    #[test]
    fn identity_can_be_better() {
        assert_eq!(of(&["gzip;q=0.5, identity"]), []);
        assert_eq!(of(&["gzip, identity;q=0.5"]), [Gzip]);
        assert_eq!(of(&["gzip, identity"]), [Gzip]);
        assert_eq!(of(&["br;q=0.3, *;q=0.5"]), [Gzip], "the star is for identity too");
        assert_eq!(of(&["identity;q=0, gzip"]), [Gzip]);
    }

    #[test]
    fn an_unreadable_weight_is_a_no() {
        for q in ["2", "0.1234", "x", ""] {
            assert_eq!(of(&[&format!("gzip;q={q}")]), [], "{q}");
        }
    }

    #[test]
    fn names_of_compressed_files() {
        assert_eq!(Brotli.sibling(Path::new("a/b.js")), Path::new("a/b.js.br"));
        assert_eq!(Gzip.sibling(Path::new("a/b.js")), Path::new("a/b.js.gz"));
    }

    proptest! {
        #[test]
        fn any_bytes_can_come(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(head) = head_with([("accept-encoding", &line[..])]) {
                preferred(&head);
            }
        }

        #[test]
        fn the_order_is_that_of_the_weights(br in 0u16..=1000, gzip in 0u16..=1000, identity in 0u16..=1000) {
            let q = |weight: u16| format!("{}.{:03}", weight / 1000, weight % 1000);
            let chosen = of(&[&format!("br;q={}, gzip;q={}, identity;q={}", q(br), q(gzip), q(identity))]);
            for (coding, weight) in [(Brotli, br), (Gzip, gzip)] {
                prop_assert_eq!(chosen.contains(&coding), weight > 0 && weight >= identity);
            }
            if chosen.len() == 2 {
                prop_assert_eq!(chosen[0] == Brotli, br >= gzip);
            }
        }

        #[test]
        fn what_is_refused_is_never_sent(others in "[a-z*,;=q0-9. ]{0,40}") {
            let chosen = of(&[&format!("br;q=0,gzip;q=0,{others}")]);
            prop_assert_eq!(chosen, []);
        }
    }
}
