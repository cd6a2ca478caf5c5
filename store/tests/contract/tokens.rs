//! One-time tokens.

use session::frames::Wire;
use session::{Role, RunnerId, SessionId};
use store::{Entrance, NewToken, TicketOutcome};

use super::*;

pub async fn of_200_simultaneous_attempts_one_gets_the_role(db: &Database) {
    let session = create(&*db.store).await;
    db.store.add_token(session.id, new_token("once")).await.unwrap();
    let roles = at_once(db, 200, move |n, store| async move {
        let ticket = ticket(&format!("t{n}"));
        store.consume_token("once", session.id, Some(ticket), after(1)).await.unwrap()
    })
    .await;
    let winners: Vec<usize> = (0..200).filter(|&n| roles[n].is_some()).collect();
    assert_eq!(winners.len(), 1);
    for n in 0..200 {
        let page_token = digest(format!("page of t{n}"));
        let speaks = db.store.page_token(page_token, session.id).await.unwrap();
        assert_eq!(speaks, (n == winners[0]).then_some(Role::Operator));
    }
}

pub async fn a_token_is_good_for_its_own_session_until_it_expires(db: &Database) {
    let session = create(&*db.store).await;
    let stranger = create(&*db.store).await;
    let token = NewToken { role: Role::Viewer, ..new_token("v") };
    db.store.add_token(session.id, token).await.unwrap();
    let consume = |jti, id, now| db.store.consume_token(jti, id, Some(ticket("x")), now);
    assert_eq!(consume("never", session.id, after(1)).await.unwrap(), None);
    assert_eq!(consume("v", stranger.id, after(1)).await.unwrap(), None);
    assert_eq!(consume("v", session.id, after(300)).await.unwrap(), None);
    assert_eq!(db.store.page_token(digest("page of x"), session.id).await.unwrap(), None);
    // None of these used it up.
    assert_eq!(consume("v", session.id, after_millis(299_999)).await.unwrap(), Some(Role::Viewer));
    assert_eq!(consume("v", session.id, after(1)).await.unwrap(), None);
}

pub async fn a_token_needs_a_session(db: &Database) {
    let nobody = SessionId::new();
    assert!(!db.store.add_token(nobody, new_token("t")).await.unwrap());
    assert!(!db.store.token_waits("t", nobody, start()).await.unwrap());
    // A session that has ended may still be read.
    let session = create(&*db.store).await;
    db.store.end(session.id, None, exited(0), start()).await.unwrap();
    assert!(db.store.add_token(session.id, new_token("t")).await.unwrap());
    assert!(db.store.consume_token("t", session.id, None, start()).await.unwrap().is_some());
}

pub async fn a_token_waits_until_it_is_consumed(db: &Database) {
    let session = create(&*db.store).await;
    db.store.add_token(session.id, new_token("t")).await.unwrap();
    for _ in 0..2 {
        assert!(db.other.token_waits("t", session.id, after_millis(299_999)).await.unwrap());
    }
    assert!(!db.store.token_waits("t", session.id, after(300)).await.unwrap());
    assert!(!db.store.token_waits("t", SessionId::new(), after(1)).await.unwrap());
    db.store.consume_token("t", session.id, None, after(1)).await.unwrap();
    assert!(!db.other.token_waits("t", session.id, after(1)).await.unwrap());
}

pub async fn a_token_without_a_ticket_gives_the_role_alone(db: &Database) {
    let session = create(&*db.store).await;
    db.store.add_token(session.id, new_token("t")).await.unwrap();
    assert_eq!(db.store.consume_token("t", session.id, None, after(1)).await.unwrap(), Some(Role::Operator));
}

pub async fn entering_finds_the_way_and_uses_the_token_up_once(db: &Database) {
    let (session, _) = create_ready(&*db.store).await;
    let stranger = create(&*db.store).await;
    db.store.add_token(session.id, NewToken { role: Role::Viewer, ..new_token("v") }).await.unwrap();
    assert!(db.store.enter("v", SessionId::new(), ticket("x"), after(1)).await.unwrap().is_none());
    for (id, now) in [(stranger.id, after(1)), (session.id, after(300))] {
        let refused = db.store.enter("v", id, ticket("x"), now).await.unwrap().unwrap();
        assert!(refused.role.is_none() && refused.route.session == id);
    }
    let entered = at_once(db, 50, move |n, store| async move {
        store.enter("v", session.id, ticket(&format!("t{n}")), after(1)).await.unwrap().unwrap()
    })
    .await;
    let known = db.store.route(session.id).await.unwrap().unwrap();
    let mut winners = 0;
    for (n, Entrance { route, role }) in entered.into_iter().enumerate() {
        assert_eq!((route.stage, &route.address, route.epoch), (known.stage, &known.address, known.epoch));
        assert_eq!(route.secret.unwrap().expose(), known.secret.as_ref().unwrap().expose());
        assert!(matches!(role, None | Some(Role::Viewer)));
        winners += usize::from(role.is_some());
        let page_token = digest(format!("page of t{n}"));
        assert_eq!(db.store.page_token(page_token, session.id).await.unwrap(), role);
        if role.is_some() {
            let redeemed = db.store.redeem_ticket(digest(format!("t{n}")), session.id, ticket("next"), after(2)).await;
            assert!(matches!(redeemed.unwrap().unwrap().outcome, TicketOutcome::Redeemed { role: Role::Viewer, .. }));
        }
    }
    assert_eq!(winners, 1);
    assert_eq!(db.store.page_token(digest("page of x"), session.id).await.unwrap(), None);
}

pub async fn in_front_of_another_wire_entering_leaves_the_token(db: &Database) {
    let placement = Placement::Fixed { runner: RunnerId::new(), address: "ttyd.example:7681".to_owned() };
    let new = NewSession { placement, ..new_session() };
    let session = created(db.store.create_session(new, start()).await.unwrap());
    db.store.add_token(session.id, new_token("t")).await.unwrap();
    let Entrance { route, role } = db.store.enter("t", session.id, ticket("x"), after(1)).await.unwrap().unwrap();
    assert_eq!((route.wire, role), (Wire::Tty, None));
    assert_eq!(db.store.page_token(digest("page of x"), session.id).await.unwrap(), None);
    assert_eq!(db.store.consume_token("t", session.id, None, after(1)).await.unwrap(), Some(Role::Operator));
}
