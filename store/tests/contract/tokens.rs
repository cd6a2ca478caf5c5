//! One-time tokens.

use session::{Role, SessionId};
use store::NewToken;

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
