//! What the program has asked its terminal and who answers: whoever has the keyboard and the size, for its terminal is
//! the one that the program means; without such a one, this runner. Never both, and never nobody: what was asked of
//! somebody who left is this runner's to answer, once it is known that it was not answered.
//!
//! Somebody who comes back says how far it had come. Until then it is not known whether its answer is on the way, so it
//! is given a while to come back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use screen::Query;

/// How long somebody who left may take to come back before its questions are answered without it.
const RETURN_LIMIT: Duration = Duration::from_secs(2);
/// How long what it had on its way may take when another has taken the keyboard over.
const HANDOVER_LIMIT: Duration = Duration::from_millis(250);
/// A question that was put to somebody so long ago was answered, or will never be waited for any more: not every
/// terminal says what it has seen.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);
/// A program that asks more than this without waiting is not answered all of it.
const MAX_OPEN: usize = 256;

struct Question {
    /// The offset behind it.
    at: u64,
    query: Query,
    asked: Instant,
    /// The connection that is to answer; `None`: this runner, at `due`.
    of: Option<u64>,
    due: Option<Instant>,
}

/// Those that may not have been answered yet, in their order.
#[derive(Default)]
pub struct Questions {
    open: VecDeque<Question>,
}

impl Questions {
    /// The program asked. `holder`: the connection that has the keyboard.
    pub fn asked(&mut self, at: u64, query: Query, holder: Option<u64>, now: Instant) {
        self.open.retain(|question| question.due.is_some() || question.asked + FORGOTTEN_AFTER > now);
        if self.open.len() == MAX_OPEN {
            self.open.pop_front();
        }
        let due = holder.is_none().then_some(now);
        self.open.push_back(Question { at, query, asked: now, of: holder, due });
    }

    /// A connection's terminal has come this far, and has answered what was asked until there.
    pub fn seen(&mut self, connection: u64, until: u64) {
        self.open.retain(|question| question.of != Some(connection) || question.at > until);
    }

    /// A connection was lost.
    pub fn left(&mut self, connection: u64, now: Instant) {
        self.pass_on(connection, now + RETURN_LIMIT);
    }

    /// A connection has lost the keyboard and is still there.
    pub fn handed_over(&mut self, connection: u64, now: Instant) {
        self.pass_on(connection, now + HANDOVER_LIMIT);
    }

    /// Who was connected as `connection` is back, and had come this far.
    pub fn returned(&mut self, connection: u64, until: u64, now: Instant) {
        self.seen(connection, until);
        self.pass_on(connection, now);
    }

    /// A connection is sent the screen instead of what lies between, or is told that it is past: it answers none of that.
    pub fn skipped(&mut self, connection: u64, from: u64, until: u64, now: Instant) {
        let is_skipped =
            |question: &&mut Question| question.of == Some(connection) && (from..until).contains(&(question.at - 1));
        for question in self.open.iter_mut().filter(is_skipped) {
            question.due = Some(now);
        }
    }

    fn pass_on(&mut self, connection: u64, due: Instant) {
        for question in self.open.iter_mut().filter(|question| question.of == Some(connection)) {
            question.due = Some(question.due.map_or(due, |earlier| earlier.min(due)));
        }
    }

    /// When the next one is this runner's to answer.
    pub fn next_due(&self) -> Option<Instant> {
        self.open.iter().filter_map(|question| question.due).min()
    }

    /// One that is this runner's to answer now, with the offset behind it.
    pub fn take_due(&mut self, now: Instant) -> Option<(u64, Query)> {
        let is_due = |question: &Question| question.due.is_some_and(|due| due <= now);
        let first = self.open.iter().position(is_due)?;
        self.open.remove(first).map(|question| (question.at, question.query))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(questions: &mut Questions, now: Instant) -> Vec<u64> {
        std::iter::from_fn(|| questions.take_due(now)).map(|(at, _)| at).collect()
    }

    #[test]
    fn what_nobody_is_there_to_answer_is_due_at_once_and_once() {
        let (mut questions, now) = (Questions::default(), Instant::now());
        questions.asked(4, Query::PrimaryAttributes, None, now);
        questions.asked(9, Query::Enquiry, None, now);
        assert_eq!(questions.next_due(), Some(now));
        assert_eq!(due(&mut questions, now), [4, 9]);
        assert_eq!(questions.next_due(), None);
    }

    #[test]
    fn what_the_holder_has_seen_is_its_own_and_what_it_has_not_is_answered_when_that_is_known() {
        let (mut questions, now) = (Questions::default(), Instant::now());
        for at in [10, 20, 30, 40] {
            questions.asked(at, Query::PrimaryAttributes, Some(1), now);
        }
        questions.seen(1, 15);
        questions.seen(2, 40);
        assert!(due(&mut questions, now + FORGOTTEN_AFTER).is_empty(), "the holder is there");
        questions.left(1, now);
        assert!(due(&mut questions, now).is_empty());
        questions.returned(1, 30, now);
        assert_eq!(due(&mut questions, now), [40]);
        questions.asked(50, Query::PrimaryAttributes, Some(3), now);
        questions.left(3, now);
        assert_eq!(due(&mut questions, now + RETURN_LIMIT), [50], "it did not come back");
        for at in [60, 70, 80] {
            questions.asked(at, Query::PrimaryAttributes, Some(4), now);
        }
        questions.skipped(4, 60, 70, now);
        assert_eq!(due(&mut questions, now), [70], "it was sent the screen instead");
        questions.seen(4, 60);
        questions.handed_over(4, now);
        assert_eq!(due(&mut questions, now + HANDOVER_LIMIT), [80]);
    }

    #[test]
    fn old_questions_are_forgotten_and_many_are_bounded() {
        let (mut questions, now) = (Questions::default(), Instant::now());
        questions.asked(1, Query::PrimaryAttributes, Some(1), now);
        questions.asked(2, Query::PrimaryAttributes, Some(1), now + FORGOTTEN_AFTER);
        questions.left(1, now + FORGOTTEN_AFTER);
        assert_eq!(due(&mut questions, now + 2 * FORGOTTEN_AFTER), [2]);
        for at in 0..1000 {
            questions.asked(at, Query::PrimaryAttributes, None, now);
        }
        assert_eq!(due(&mut questions, now).len(), MAX_OPEN);
    }
}
