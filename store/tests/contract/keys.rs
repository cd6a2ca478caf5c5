//! API keys.

use session::ApiKeyId;
use store::NewApiKey;

use super::*;

fn new_key(name: &str) -> NewApiKey {
    NewApiKey { id: ApiKeyId::new(), name: name.to_owned(), hash: digest(name), creates_per_minute: Some(7) }
}

pub async fn a_key_is_found_by_its_hash_until_it_is_revoked(db: &Database) {
    let new = new_key("a");
    let key = db.store.add_api_key(new.clone(), start()).await.unwrap();
    assert_eq!((key.id, key.name.as_str(), key.hash), (new.id, "a", new.hash));
    assert_eq!((key.creates_per_minute, key.created_at), (Some(7), start()));
    assert_eq!(db.other.api_key(digest("a")).await.unwrap(), Some(key.clone()));
    assert_eq!(db.store.api_key(digest("b")).await.unwrap(), None);
    assert!(db.store.revoke_api_key(key.id, after(1)).await.unwrap());
    assert!(!db.store.revoke_api_key(key.id, after(2)).await.unwrap());
    assert!(!db.store.revoke_api_key(ApiKeyId::new(), after(2)).await.unwrap());
    assert_eq!(db.store.api_key(digest("a")).await.unwrap(), None);
    assert!(db.store.api_keys().await.unwrap().is_empty());
}

pub async fn adding_the_same_key_again_changes_nothing(db: &Database) {
    let keys = at_once(db, 8, |_, store| async move { store.add_api_key(new_key("a"), start()).await.unwrap() }).await;
    assert!(keys.iter().all(|key| *key == keys[0]));
    assert_eq!(db.store.api_keys().await.unwrap(), keys[..1]);
    // One that was revoked may be added anew, as another one.
    db.store.revoke_api_key(keys[0].id, after(1)).await.unwrap();
    let again = db.store.add_api_key(new_key("a"), after(2)).await.unwrap();
    assert_ne!(again.id, keys[0].id);
}

pub async fn keys_are_listed_oldest_first(db: &Database) {
    let mut all = Vec::new();
    for (n, name) in ["c", "a", "b"].into_iter().enumerate() {
        let new = NewApiKey { creates_per_minute: None, ..new_key(name) };
        all.push(db.store.add_api_key(new, after(n as i64)).await.unwrap());
    }
    assert_eq!(db.store.api_keys().await.unwrap(), all);
}
