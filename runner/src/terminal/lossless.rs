//! The one client that would rather hold the program up than miss any of its output. It does so only when what it has
//! not taken would have to be forgotten, and only as long as it gets on.

use std::time::{Duration, Instant};

/// How long the program may be held up without this client getting on, gone and coming back included.
const PAUSE_LIMIT: Duration = Duration::from_secs(30);

#[derive(Default)]
pub struct Lossless {
    client: Option<Client>,
}

struct Client {
    id: String,
    /// It has taken what lies before this.
    off: u64,
    /// Since when the program waits for it, without its having got on.
    waited_for: Option<Instant>,
    left: Option<Instant>,
}

impl Lossless {
    /// Takes a client in, unless there is another one. Where it stands, it tells by what it [took](Self::took).
    pub fn attach(&mut self, id: &str, now: Instant) -> bool {
        let is_free = |client: &Client| client.id == id || client.left.is_some_and(|left| left + PAUSE_LIMIT <= now);
        if !self.client.as_ref().is_none_or(is_free) {
            return false;
        }
        self.client = Some(Client { id: id.to_owned(), off: 0, waited_for: None, left: None });
        true
    }

    /// It has taken what lies before `until`. True where that is more, and so may let the program go on.
    pub fn took(&mut self, id: &str, until: u64) -> bool {
        let Some(client) = self.client.as_mut().filter(|client| client.id == id && client.off < until) else {
            return false;
        };
        client.off = until;
        client.waited_for = None;
        true
    }

    /// Its connection is gone; it may come back.
    pub fn detach(&mut self, id: &str, now: Instant) {
        if let Some(client) = self.client.as_mut().filter(|client| client.id == id) {
            client.left = Some(now);
        }
    }

    /// It has said goodbye, and will not come back.
    pub fn finished(&mut self, id: &str) {
        self.client.take_if(|client| client.id == id);
    }

    /// How much longer the program has to wait before the stream may forget what lies before `oldest`. A client that
    /// does not get on is given up.
    pub fn holds(&mut self, oldest: u64, now: Instant) -> Option<Duration> {
        let client = self.client.as_mut().filter(|client| client.off < oldest)?;
        let since = *client.waited_for.get_or_insert(now);
        let left = (since + PAUSE_LIMIT).saturating_duration_since(now);
        if left.is_zero() {
            tracing::warn!("a client that wants all output has not taken any for too long: the program goes on");
            self.client = None;
            return None;
        }
        Some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_the_program_as_long_as_it_gets_on() {
        let (mut lossless, now) = (Lossless::default(), Instant::now());
        let later = now + PAUSE_LIMIT / 2;
        assert_eq!(lossless.holds(100, now), None);
        assert!(lossless.attach("a", now));
        lossless.took("a", 10);
        assert!(!lossless.attach("b", now + 2 * PAUSE_LIMIT), "there is one already");
        assert_eq!(lossless.holds(10, now), None, "it has all that would go");
        assert_eq!(lossless.holds(11, now), Some(PAUSE_LIMIT));
        assert_eq!(lossless.holds(11, later), Some(PAUSE_LIMIT / 2));
        assert!(lossless.took("a", 11) && !lossless.took("a", 11) && !lossless.took("b", 12));
        assert_eq!(lossless.holds(12, later), Some(PAUSE_LIMIT), "it got on");
        assert_eq!(lossless.holds(12, later + PAUSE_LIMIT), None, "it did not");
        assert!(lossless.attach("b", later));
    }

    #[test]
    fn one_that_left_may_come_back_for_a_while() {
        let (mut lossless, now) = (Lossless::default(), Instant::now());
        assert!(lossless.attach("a", now));
        lossless.took("a", 10);
        lossless.detach("a", now);
        assert_eq!(lossless.holds(20, now), Some(PAUSE_LIMIT));
        assert!(!lossless.attach("b", now));
        assert!(lossless.attach("a", now));
        lossless.detach("a", now);
        assert!(lossless.attach("b", now + PAUSE_LIMIT));
        lossless.finished("b");
        assert_eq!(lossless.holds(20, now), None);
    }
}
