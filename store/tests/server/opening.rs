//! Opening: TLS, rights, and schemas of other releases.

use std::time::Instant;

use store::postgres::{Part, PostgresStore};
use store::{SealKey, Store, StoreError};
use testkit::postgres::Server;

use crate::contract::{self, after, create, create_ready, exited, start, ticket};
use crate::{KEY, SOON, config, fresh, open, peek};

#[tokio::test]
async fn a_gateway_needs_few_rights() {
    if testkit::postgres::missing() {
        return;
    }
    let database = fresh().await;
    let store = open(&database.url).await.unwrap();
    let admin = database.client().await.unwrap();
    admin
        .batch_execute(
            "DROP ROLE IF EXISTS gateway; CREATE ROLE gateway LOGIN PASSWORD 'gateway'; \
             GRANT SELECT ON sessions, runners, refinery_schema_history TO gateway; \
             GRANT SELECT, DELETE ON tokens TO gateway; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON tickets, page_tokens TO gateway",
        )
        .await
        .unwrap();
    let server = Server::shared().await.unwrap();
    let url = format!("postgres://gateway:gateway@127.0.0.1:{}/{}?sslmode=disable", server.port(), database.name);
    let gateway = open(&url).await.unwrap();
    gateway.rehearse(Part::Gateway).await.unwrap();
    let error = gateway.rehearse(Part::Controller).await.unwrap_err();
    assert!(error.to_string().contains("42501"), "{error}");
    let (session, _) = create_ready(&store).await;
    let id = session.id;
    let jti = id.to_string();
    assert!(gateway.token_waits(&jti, id, start()).await.unwrap());
    assert!(gateway.enter("none", id, ticket("none"), start()).await.unwrap().unwrap().role.is_none());
    assert!(gateway.consume_token(&jti, id, Some(ticket("a")), start()).await.unwrap().is_some());
    for (from, to) in [("a", "b"), ("a", "c"), ("c", "d"), ("a", "x")] {
        gateway.redeem_ticket(contract::digest(from), id, ticket(to), after(1)).await.unwrap();
    }
    gateway.page_token(contract::digest("page of d"), id).await.unwrap();
    assert!(gateway.route(id).await.unwrap().unwrap().secret.is_some());
    gateway.ping().await.unwrap();
    let error = gateway.end(id, None, exited(0), start()).await.unwrap_err();
    assert!(matches!(error, StoreError::Database(_)), "{error}");
}

#[tokio::test]
async fn tls_verifies_what_the_mode_asks_for() {
    if testkit::postgres::missing() {
        return;
    }
    let database = fresh().await;
    let server = Server::shared().await.unwrap();
    let (named, numbered) = (format!("localhost:{}", server.port()), format!("127.0.0.1:{}", server.port()));
    let (ca, other) = (server.ca(), server.other_ca());
    let (ca, other) = (ca.display(), other.display());
    for (address, parameters, refused) in [
        (&named, format!("sslmode=verify-full&sslrootcert={ca}"), None),
        (&named, format!("sslmode=verify-full&sslrootcert={other}"), Some("UnknownIssuer")),
        (&named, "sslmode=verify-full".to_owned(), Some("UnknownIssuer")),
        (&numbered, format!("sslmode=verify-full&sslrootcert={ca}"), Some("not valid for")),
        (&numbered, format!("sslmode=verify-ca&sslrootcert={ca}"), None),
        (&numbered, format!("sslmode=verify-ca&sslrootcert={other}"), Some("UnknownIssuer")),
        (&numbered, "sslmode=require".to_owned(), None),
        (&numbered, format!("sslmode=require&sslrootcert={other}"), Some("UnknownIssuer")),
        (&named, "sslmode=verify-full&sslrootcert=/nonexistent/ca.pem".to_owned(), Some("/nonexistent/ca.pem")),
    ] {
        let url = server.url_at(address, &database.name, &format!("{parameters}&application_name=tls"));
        match (open(&url).await, refused) {
            (Ok(store), None) => {
                create(&store).await;
                let plain = "SELECT COUNT(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                             WHERE application_name = 'tls' AND NOT ssl";
                assert_eq!(peek::<i64>(&database, plain).await, 0, "{parameters}");
            }
            // Waiting does not mend it.
            (Err(StoreError::Database(text)), Some(part)) => assert!(text.contains(part), "{parameters}: {text}"),
            (outcome, _) => panic!("{address} {parameters}: {:?}", outcome.map(drop)),
        }
    }
}

#[tokio::test]
async fn what_waiting_does_not_mend_is_said_at_once() {
    if testkit::postgres::missing() {
        return;
    }
    let server = Server::shared().await.unwrap();
    let empty = server.empty_database().await.unwrap();
    let wrong = format!("postgres://postgres:hunter2@127.0.0.1:{}/postgres?sslmode=disable", server.port());
    for (url, part) in
        [(&empty.url, "cliscale-controller migrate up"), (&wrong, "28P01"), (&server.url("nowhere"), "3D000")]
    {
        let began = Instant::now();
        let error = PostgresStore::open(&config(url), SealKey::new(&KEY), SOON).await.err().unwrap();
        assert!(matches!(error, StoreError::Database(_)), "{error}");
        assert!(error.to_string().contains(part) && !error.to_string().contains("hunter2"), "{error}");
        assert!(began.elapsed() < SOON / 2);
    }
}

#[tokio::test]
async fn a_newer_schema_is_taken_as_it_is() {
    if testkit::postgres::missing() {
        return;
    }
    let database = fresh().await;
    let newer = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
                 VALUES (1000, 'newer', '2030-01-01T00:00:00Z', '1')";
    database.client().await.unwrap().batch_execute(newer).await.unwrap();
    create(&open(&database.url).await.unwrap()).await;
}
