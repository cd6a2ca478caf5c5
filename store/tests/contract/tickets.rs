//! Resume tickets and page tokens.

use std::collections::HashSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use session::{ClientId, Role, SessionId};
use store::{NewTicket, NewToken, Retention, Return, TicketOutcome};

use super::*;

/// Consumes a fresh token for a ticket of this name.
async fn first_ticket(db: &Database, session: SessionId, role: Role, name: &str) -> ClientId {
    let token = NewToken { role, ..new_token(&format!("for {name}")) };
    assert!(db.store.add_token(session, token).await.unwrap());
    let new = ticket(name);
    let client = new.client;
    let taken = db.store.consume_token(&format!("for {name}"), session, Some(new), start()).await.unwrap();
    assert_eq!(taken, Some(role));
    client
}

async fn redeem(db: &Database, session: SessionId, name: &str, successor: &str, seconds: i64) -> TicketOutcome {
    db.store.redeem_ticket(digest(name), session, ticket(successor), after(seconds)).await.unwrap().unwrap().outcome
}

fn is_redeemed(outcome: TicketOutcome) -> bool {
    matches!(outcome, TicketOutcome::Redeemed { .. })
}

pub async fn a_successor_keeps_role_and_client_and_leads_to_the_session(db: &Database) {
    let (session, _) = create_ready(&*db.store).await;
    let id = session.id;
    let client = first_ticket(db, id, Role::Viewer, "0").await;
    let known = db.store.route(id).await.unwrap().unwrap();
    for n in 0..5 {
        let (presented, successor) = (digest(n.to_string()), ticket(&(n + 1).to_string()));
        let returned = db.store.redeem_ticket(presented, id, successor, after(n * 3600)).await.unwrap();
        let Return { route, outcome } = returned.unwrap();
        assert_eq!(outcome, TicketOutcome::Redeemed { role: Role::Viewer, client });
        assert_eq!((route.session, route.stage, &route.address), (id, known.stage, &known.address));
        assert_eq!(route.secret.unwrap().expose(), known.secret.as_ref().unwrap().expose());
    }
}

pub async fn a_lost_answer_locks_nobody_out(db: &Database) {
    let id = create(&*db.store).await.id;
    first_ticket(db, id, Role::Operator, "a").await;
    assert!(is_redeemed(redeem(db, id, "a", "b", 100).await));
    assert!(is_redeemed(redeem(db, id, "a", "c", 130).await));
    assert!(is_redeemed(redeem(db, id, "a", "d", 160).await));
    // Of the successors the last one counts.
    for replaced in ["b", "c"] {
        assert_eq!(redeem(db, id, replaced, "x", 160).await, TicketOutcome::Expired);
    }
    assert!(is_redeemed(redeem(db, id, "d", "e", 161).await));
}

pub async fn a_superseded_ticket_is_good_for_a_minute(db: &Database) {
    let id = create(&*db.store).await.id;
    first_ticket(db, id, Role::Operator, "a").await;
    assert!(is_redeemed(redeem(db, id, "a", "b", 100).await));
    // The minute runs from the first redemption, and a late one ends nothing.
    assert!(is_redeemed(redeem(db, id, "a", "c", 150).await));
    assert_eq!(redeem(db, id, "a", "d", 161).await, TicketOutcome::Expired);
    assert!(is_redeemed(redeem(db, id, "c", "e", 9000).await));
}

pub async fn reuse_after_the_successor_was_used_ends_the_family_and_no_other(db: &Database) {
    let id = create(&*db.store).await.id;
    first_ticket(db, id, Role::Operator, "a").await;
    first_ticket(db, id, Role::Operator, "other").await;
    assert!(is_redeemed(redeem(db, id, "a", "b", 10).await));
    assert!(is_redeemed(redeem(db, id, "b", "c", 11).await));
    assert_eq!(redeem(db, id, "a", "x", 12).await, TicketOutcome::Reused);
    for name in ["a", "b", "c", "x"] {
        assert_eq!(redeem(db, id, name, "y", 13).await, TicketOutcome::Expired, "{name}");
        assert_eq!(db.store.page_token(digest(format!("page of {name}")), id).await.unwrap(), None, "{name}");
    }
    assert_eq!(db.store.page_token(digest("page of other"), id).await.unwrap(), Some(Role::Operator));
    assert!(is_redeemed(redeem(db, id, "other", "z", 14).await));
}

pub async fn a_ticket_is_worth_nothing_for_another_session(db: &Database) {
    let id = create(&*db.store).await.id;
    let stranger = create(&*db.store).await.id;
    first_ticket(db, id, Role::Operator, "a").await;
    assert_eq!(redeem(db, stranger, "a", "b", 1).await, TicketOutcome::Expired);
    assert_eq!(redeem(db, id, "never", "b", 1).await, TicketOutcome::Expired);
    assert!(db.store.redeem_ticket(digest("a"), SessionId::new(), ticket("b"), after(1)).await.unwrap().is_none());
    assert!(is_redeemed(redeem(db, id, "a", "b", 2).await));
}

pub async fn of_simultaneous_redemptions_one_successor_is_left(db: &Database) {
    let id = create(&*db.store).await.id;
    first_ticket(db, id, Role::Operator, "a").await;
    let outcomes = at_once(db, 20, move |n, store| async move {
        store.redeem_ticket(digest("a"), id, ticket(&format!("b{n}")), after(1)).await.unwrap().unwrap().outcome
    })
    .await;
    assert!(outcomes.into_iter().all(is_redeemed));
    let mut good = 0;
    for n in 0..20 {
        good += usize::from(is_redeemed(redeem(db, id, &format!("b{n}"), &format!("c{n}"), 2).await));
    }
    assert_eq!(good, 1);
}

/// The rules told by what happened, not by what is stored.
#[derive(Default)]
struct History {
    /// Of each ticket that was given out: the one it was given for, and when it was first redeemed.
    tickets: Vec<(Option<usize>, Option<i64>)>,
    /// No longer known: replaced, or of a family that was ended.
    forgotten: HashSet<usize>,
}

#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Redeemed,
    Expired,
    Reused,
}

impl History {
    fn present(&mut self, n: usize, now: i64) -> Expected {
        let successors: Vec<usize> = (0..self.tickets.len()).filter(|&s| self.tickets[s].0 == Some(n)).collect();
        if self.forgotten.contains(&n) {
            return Expected::Expired;
        }
        if successors.iter().any(|&s| self.tickets[s].1.is_some()) {
            self.forgotten.extend(0..self.tickets.len());
            return Expected::Reused;
        }
        let first = *self.tickets[n].1.get_or_insert(now);
        if now - first > 60 {
            return Expected::Expired;
        }
        self.forgotten.extend(successors);
        self.tickets.push((Some(n), None));
        Expected::Redeemed
    }
}

/// Each step presents one of the last few tickets after some seconds; families end, and a new one begins.
pub async fn every_sequence_of_redemptions_keeps_the_rules(db: &Database) {
    let mut runner = TestRunner::deterministic();
    let steps = prop::collection::vec((0usize..4, prop_oneof![0i64..5, 20i64..40, Just(60), Just(61)]), 1..16);
    let mut seen = [0; 3];
    for case in 0..60 {
        let steps = steps.new_tree(&mut runner).unwrap().current();
        let id = create(&*db.store).await.id;
        let client = first_ticket(db, id, Role::Operator, &format!("{case}/0")).await;
        let mut history = History { tickets: vec![(None, None)], ..History::default() };
        let mut now = 0;
        for &(back, seconds) in &steps {
            now += seconds;
            let given = history.tickets.len();
            let n = given - 1 - back.min(given - 1);
            let successor = NewTicket { client: ClientId::new(), ..ticket(&format!("{case}/{given}")) };
            let presented = digest(format!("{case}/{n}"));
            let returned = db.replica(given).redeem_ticket(presented, id, successor, after(now)).await.unwrap();
            let (kind, expected) = match history.present(n, now) {
                Expected::Redeemed => (0, TicketOutcome::Redeemed { role: Role::Operator, client }),
                Expected::Expired => (1, TicketOutcome::Expired),
                Expected::Reused => (2, TicketOutcome::Reused),
            };
            assert_eq!(returned.unwrap().outcome, expected, "ticket {n} at {now} s of {steps:?}");
            seen[kind] += 1;
        }
    }
    assert!(seen.iter().all(|&times| times >= 20), "too few of a kind to mean anything: {seen:?}");
}

pub async fn a_page_token_speaks_for_its_session_and_lives_with_it(db: &Database) {
    let id = create(&*db.store).await.id;
    let stranger = create(&*db.store).await.id;
    first_ticket(db, id, Role::Viewer, "a").await;
    assert!(is_redeemed(redeem(db, id, "a", "b", 1).await));
    assert!(is_redeemed(redeem(db, id, "b", "c", 2).await));
    for name in ["a", "b", "c"] {
        let page_token = digest(format!("page of {name}"));
        assert_eq!(db.other.page_token(page_token, id).await.unwrap(), Some(Role::Viewer));
        assert_eq!(db.store.page_token(page_token, stranger).await.unwrap(), None);
    }
    assert_eq!(db.store.page_token(digest("page of nobody"), id).await.unwrap(), None);
    db.store.end(id, None, exited(0), after(3)).await.unwrap();
    assert_eq!(db.store.page_token(digest("page of c"), id).await.unwrap(), Some(Role::Viewer));
    db.store.prune(Retention { sessions: HOUR, ..Retention::default() }, after(3 + 3600)).await.unwrap();
    assert_eq!(db.store.page_token(digest("page of c"), id).await.unwrap(), None);
}
