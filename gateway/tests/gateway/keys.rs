//! The controller's key set over HTTP.

use std::time::Duration;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use gateway::{HttpJwks, JwksSource};
use jsonwebtoken::jwk::JwkSet;
use service::{ServeLimits, Shutdown};

use crate::signer::Signer;

#[tokio::test]
async fn keys_come_with_their_age_and_anything_else_is_an_error() {
    let set = serde_json::to_string(&JwkSet { keys: vec![Signer::ours().jwk.clone()] }).unwrap();
    let router = Router::new()
        .route("/jwks.json", get(|| async { ([("cache-control", "public, max-age=77")], set) }))
        .route("/moved", get(|| async { Redirect::temporary("/jwks.json") }))
        .route("/page", get(|| async { "<html>" }))
        .route("/endless", get(|| async { "x".repeat(3_000_000) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = Shutdown::new();
    shutdown.spawn(service::serve(listener, router, ServeLimits::default(), shutdown.token()));

    let source = |path: &str| HttpJwks::new(format!("{base}{path}").parse().unwrap()).unwrap();
    let good = source("/jwks.json");
    assert_eq!(good.fetch().await.unwrap().keys[0].common.key_id.as_deref(), Some("ours"));
    assert_eq!(good.max_age(), Some(Duration::from_secs(77)));
    for path in ["/moved", "/page", "/endless", "/missing"] {
        assert!(source(path).fetch().await.is_err(), "{path}");
    }
    shutdown.begin();
    assert!(shutdown.finish(crate::harness::PATIENCE).await);
    assert!(good.fetch().await.unwrap_err().to_string().contains("onnect"), "names the cause");
}
