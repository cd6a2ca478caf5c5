//! New connections: how many a second, for how much of a processor. Ours checks a signature, uses a token up and writes a
//! ticket for each of them; the peers let everybody in.

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bench::{Goal, OURS, Row};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Bench;
use crate::subject::{Subject, enter};

const CONNECTIONS: usize = 2_000;
const AT_ONCE: usize = 32;
const DATABASE: &str = "new connections: PostgreSQL's processor";

pub async fn measure(bench: &Bench) -> Result<()> {
    let count = bench.options.size(CONNECTIONS, AT_ONCE);
    let mut rate = bench.rows("new connections", "a second");
    let mut cpu = bench.rows("new connections: processor", "us each");
    let mut database = Row::new(DATABASE, OURS, "us each");
    bench
        .rounds(bench.options.runs(), count + AT_ONCE, async |index, subject| {
            // Its connections to the database are opened once, not for each who comes.
            drop(enter_all(subject, AT_ONCE).await?);
            let (before, database_before) = (subject.usage()?, bench.installation.database_secs()?);
            let began = Instant::now();
            for _ in 0..count / AT_ONCE {
                drop(enter_all(subject, AT_ONCE).await?);
            }
            let (took, entered) = (began.elapsed().as_secs_f64(), (count / AT_ONCE * AT_ONCE) as f64);
            rate[index].samples.push(entered / took);
            cpu[index].samples.push(subject.usage()?.since(before).cpu_secs * 1e6 / entered);
            if subject.name == OURS {
                database.samples.push((bench.installation.database_secs()? - database_before) * 1e6 / entered);
            }
            Ok(())
        })
        .await?;
    rate.iter().for_each(Row::print);
    for row in cpu {
        let row = if row.subject == OURS { row.goal(Goal::at_most(130.0)) } else { row };
        row.print();
    }
    let pgbench = measure_pgbench(bench, count).await?;
    let goal = Goal::at_most_peers(1.2, &[]);
    if pgbench.is_some() { database.goal(goal) } else { database }.print();
    pgbench.iter().for_each(Row::print);
    Ok(())
}

/// This many at the same time.
pub async fn enter_all(subject: &Subject, count: usize) -> Result<Vec<TcpStream>> {
    let mut coming = JoinSet::new();
    for _ in 0..count {
        let (address, path) = (subject.address, subject.entrance.path()?);
        coming.spawn_local(async move { enter(address, &path, "tty.r1, tty").await });
    }
    let mut open = Vec::with_capacity(count);
    while let Some(entered) = coming.join_next().await {
        open.push(entered?.with_context(|| subject.name.clone())?.0);
    }
    Ok(open)
}

/// How many connections a gateway has to its database, and `pgbench` here.
const CLIENTS: usize = 8;

/// The statement of an admission as `pgbench` runs it: where the session is, and the token used up for a ticket.
const SCRIPT: &str = "\\set n :n + 1\n\
    WITH route AS (SELECT s.id, s.stage, s.wire, s.epoch, s.end_reason, s.exit_code, s.end_signal, s.end_message, \
    r.id AS ready_id, r.address, r.secret FROM sessions s \
    LEFT JOIN runners r ON r.id = s.runner_id AND r.state IN ('idle', 'claimed') WHERE s.id = :session::text::uuid), \
    named AS (SELECT :client_id::text || '-' || :n::text AS name), \
    used AS (DELETE FROM tokens WHERE jti = (SELECT name FROM named) AND session_id = :session::text::uuid \
    AND expires_at > 0 AND EXISTS (SELECT 1 FROM route WHERE wire = 'tty.r1') RETURNING role), \
    ticket AS (INSERT INTO tickets (digest, session_id, family, role, client_id) \
    SELECT sha256(name::bytea), :session::text::uuid, sha256(name::bytea), role, gen_random_uuid() FROM used, named), \
    page AS (INSERT INTO page_tokens (digest, session_id, family, role) \
    SELECT sha256(name::bytea), :session::text::uuid, sha256(name::bytea), role FROM used, named) \
    SELECT route.*, (SELECT role FROM used) AS role FROM route;\n";

/// PostgreSQL's processor time for each transaction of the script.
async fn measure_pgbench(bench: &Bench, count: usize) -> Result<Option<Row>> {
    let installation = &bench.installation;
    let Some(program) = crate::installation::pgbench() else { return Ok(None) };
    let client = installation.database.client().await?;
    let provide = "INSERT INTO tokens (jti, session_id, role, expires_at) \
                   SELECT client || '-' || n, $1::text::uuid, 'operator', 9000000000000 \
                   FROM generate_series(0, $4::int - 1) client, generate_series($2::int, $3::int) n";
    let session = installation.session.to_string();
    let script = tempfile::NamedTempFile::new()?;
    std::fs::write(script.path(), SCRIPT)?;
    let mut row = Row::new(DATABASE, "pgbench", "us each");
    for run in 0..bench.options.runs() {
        let each = count / CLIENTS;
        let first = run * each;
        let [from, to, clients] = [first + 1, first + each, CLIENTS].map(|number| number as i32);
        client.execute(provide, &[&session, &from, &to, &clients]).await?;
        let before = installation.database_secs()?;
        let mut pgbench = tokio::process::Command::new(&program);
        pgbench.args(["-n", "-M", "prepared"]).arg("-f").arg(script.path()).arg("-t").arg(each.to_string());
        pgbench.arg("-c").arg(CLIENTS.to_string());
        pgbench.arg("-D").arg(format!("n={first}")).arg("-D").arg(format!("session={session}"));
        pgbench.arg(&installation.database.url).stdout(Stdio::null()).stderr(Stdio::null());
        let status = pgbench.stdin(Stdio::null()).status().await?;
        ensure!(status.success(), "pgbench: {status}");
        row.samples.push((installation.database_secs()? - before) * 1e6 / (each * CLIENTS) as f64);
    }
    Ok(Some(row))
}
