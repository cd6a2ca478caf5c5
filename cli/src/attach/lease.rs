//! Whose the session's keyboard is, as far as this client was told. Pure.
//!
//! One operator's keys are typed and its terminal answers the program. What another types would be thrown away by the
//! server, so it is not sent; and what the program asks is not shown to that other's terminal, which would answer.

use session::frames::Presence;

/// What the person at the terminal should hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Lost,
    Got,
}

#[derive(Debug, Default)]
pub struct Lease {
    /// What the server said last on this connection.
    known: Option<Presence>,
    /// It was asked for, and the answer is on its way.
    asked: bool,
    /// The person knows that somebody else has it.
    told: bool,
}

impl Lease {
    /// A connection begins.
    pub fn begin(&mut self) {
        (self.known, self.asked) = (None, false);
    }

    pub fn heard(&mut self, presence: Presence) -> Option<Change> {
        self.known = Some(presence);
        self.asked &= !presence.holds;
        let told = self.told;
        if presence.holds {
            self.told = false;
            return told.then_some(Change::Got);
        }
        self.told |= presence.held;
        (self.told && !told).then_some(Change::Lost)
    }

    /// It is being asked for: what is typed from now on arrives after that.
    pub fn ask(&mut self) {
        self.asked = true;
    }

    /// Somebody else has it. While nobody has, typing is asking for it.
    pub fn is_elsewhere(&self) -> bool {
        !self.asked && self.known.is_some_and(|presence| presence.held && !presence.holds)
    }

    /// The program's questions are for this terminal. A server that says nothing of others has no others.
    pub fn answers(&self) -> bool {
        self.known.is_none_or(|presence| presence.holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presence(holds: bool, held: bool) -> Presence {
        Presence { operators: 2, viewers: 0, holds, held }
    }

    #[test]
    fn losing_the_keyboard_is_said_once_and_getting_it_back_too() {
        let mut lease = Lease::default();
        assert_eq!(lease.heard(presence(true, true)), None);
        assert!(!lease.is_elsewhere() && lease.answers());
        assert_eq!(lease.heard(presence(false, true)), Some(Change::Lost));
        assert!(lease.is_elsewhere() && !lease.answers());
        lease.begin();
        assert_eq!(lease.heard(presence(false, true)), None);
        assert_eq!(lease.heard(presence(false, false)), None);
        assert!(!lease.is_elsewhere() && !lease.answers(), "typing asks for what nobody has");
        assert_eq!(lease.heard(presence(false, true)), None);
        assert_eq!(lease.heard(presence(true, true)), Some(Change::Got));
        assert_eq!(lease.heard(presence(true, true)), None);
    }

    #[test]
    fn what_is_typed_after_asking_for_the_keyboard_is_sent() {
        let mut lease = Lease::default();
        lease.heard(presence(false, true));
        lease.ask();
        assert!(!lease.is_elsewhere() && !lease.answers());
        // Somebody came or went before the answer.
        lease.heard(presence(false, true));
        assert!(!lease.is_elsewhere());
        lease.heard(presence(true, true));
        lease.heard(presence(false, true));
        assert!(lease.is_elsewhere());
    }
}
