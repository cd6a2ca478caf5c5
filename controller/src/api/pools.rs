//! `GET /api/pools` and `PATCH /api/pools/{name}`: the pools of standbys, and pausing one.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use service::Problem;
use session::ProblemType;
use session::api::{ChangePool, PoolList, PoolView};
use store::{PoolRecord, Time};

use super::sessions::whole;
use super::{Controller, json, read};
use crate::auth;

pub async fn list_pools(State(controller): State<Controller>, headers: HeaderMap) -> Result<Response, Problem> {
    auth::authenticate(&*controller.0.store, &headers).await?;
    let pools = controller.0.store.pools().await?.into_iter().map(pool_view).collect();
    Ok(json(StatusCode::OK, &PoolList { pools }))
}

pub async fn change_pool(
    State(controller): State<Controller>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let key = auth::authenticate(&*controller.0.store, request.headers()).await?;
    let body = read::read_body(request).await?;
    let ChangePool { paused } = read::from_json(&body)?;
    let unknown = || Problem::new(ProblemType::NotFound, "there is no such pool; GET /api/pools lists them");
    let Path(name) = name.map_err(|_| unknown())?;
    let changing = controller.clone();
    let pool = whole(async move {
        if !changing.0.store.pause_pool(name.clone(), paused).await? {
            return Err(unknown());
        }
        let action = if paused { "pool.pause" } else { "pool.resume" };
        auth::record(&*changing.0.store, key.id.to_string(), action, name.clone()).await;
        let pools = changing.0.store.pools().await?;
        pools.into_iter().find(|pool| pool.name == name).ok_or_else(unknown)
    })
    .await?;
    controller.0.lifecycle.pools_changed();
    Ok(json(StatusCode::OK, &pool_view(pool)))
}

fn pool_view(pool: PoolRecord) -> PoolView {
    PoolView {
        name: pool.name,
        paused: pool.paused,
        booting: pool.booting,
        idle: pool.idle,
        claimed: pool.claimed,
        failures: pool.failures,
        retry_at: pool.retry_at.filter(|at| *at > Time::now()).map(|at| at.to_string()),
    }
}
