//! Which reply is whose turn.

use super::reply::Reply;

/// The replies to one model's requests, in their order. What comes after them is answered well, or like the last.
#[derive(Clone, Debug, Default)]
pub struct Script {
    replies: Vec<Reply>,
    next: usize,
    then: Then,
}

#[derive(Clone, Copy, Debug, Default)]
enum Then {
    #[default]
    Well,
    /// As the last time, for ever.
    Same,
    /// From the beginning again.
    Again,
    /// So many of every thousand requests get the last reply, whatever their order; the others are answered well.
    Some(u64),
}

impl Script {
    /// Gives each reply once.
    pub fn once(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self { replies: replies.into_iter().collect(), ..Self::default() }
    }

    /// Gives this reply every time.
    pub fn always(reply: Reply) -> Self {
        Self { replies: vec![reply], next: 0, then: Then::Same }
    }

    /// Gives each reply in turn, and begins again.
    pub fn in_turn(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self { then: Then::Again, ..Self::once(replies) }
    }

    /// Gives this reply to so many of every thousand requests, spread as dice would.
    pub fn to_some(per_thousand: u64, reply: Reply) -> Self {
        Self { replies: vec![reply], next: 0, then: Then::Some(per_thousand) }
    }

    /// Goes on as it has begun: what comes after the last reply gets that reply, too.
    pub fn and_so_on(mut self) -> Self {
        self.then = Then::Same;
        self
    }

    /// Returns the reply whose turn it is; `None` for a good one.
    pub(super) fn next(&mut self) -> Option<Reply> {
        let at = self.next;
        self.next += 1;
        match (self.replies.get(at), self.then) {
            (_, Then::Some(share)) => self.replies.last().filter(|_| dice(at) % 1_000 < share).cloned(),
            (Some(reply), _) => Some(reply.clone()),
            (None, Then::Well) => None,
            (None, Then::Same) => self.replies.last().cloned(),
            (None, Then::Again) => self.replies.get(at % self.replies.len().max(1)).cloned(),
        }
    }
}

impl From<Reply> for Script {
    fn from(reply: Reply) -> Self {
        Self::always(reply)
    }
}

/// Returns a number that looks like chance and is the same in every run (SplitMix64).
fn dice(at: usize) -> u64 {
    let mut number = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
