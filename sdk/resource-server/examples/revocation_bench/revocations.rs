//! What is measured: from the administrator's request and its answer until a
//! call is refused, and until everybody was told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::Failure;
use super::api::{AGENT, Administrator, kill_switch};
use super::calls;
use super::fleet::Fleet;
use super::server::Server;
use super::told;

/// Calls that are answered before a token is revoked.
const CALLS: u64 = 20;
/// How long everybody may take to be told.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the server is left alone before and after.
const REST: Duration = Duration::from_millis(500);

/// One token's end.
#[derive(Debug, Serialize)]
pub(super) struct Revoked {
    /// Milliseconds from the administrator's answer to the first refused call: less than none
    /// when the call was refused before the answer was there.
    from_answer_ms: f64,
    /// The same from the request.
    from_request_ms: f64,
    /// What one call takes on the average.
    call_ms: f64,
}

/// One agent's end.
#[derive(Debug, Serialize)]
pub(super) struct Switched {
    /// Milliseconds from the request to its answer.
    answer_ms: f64,
    /// Milliseconds from the answer until so many of the good receivers were told.
    half_ms: f64,
    most_ms: f64,
    all_ms: f64,
    /// From the request until all were.
    all_from_request_ms: f64,
    /// Good receivers,
    receivers: usize,
    /// and those of them that were told within half a minute.
    told: usize,
    /// CPU of the server for it all, seconds.
    cpu_s: f64,
}

/// Revokes tokens, one after the other, each while it is used.
pub(super) async fn revoke(
    administrator: &Administrator,
    server: &Server,
    times: usize,
) -> Result<Vec<Revoked>, Failure> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let mut all = Vec::with_capacity(times);
    for number in 0..times {
        let resource = &server.resource;
        let token = administrator.token(AGENT, resource).await?;
        server.knows_of(&token)?;
        let answered = Arc::new(AtomicU64::new(0));
        let calls = calls::until_refused(
            http.clone(),
            resource.clone(),
            token.clone(),
            Arc::clone(&answered),
        );
        let calling = tokio::spawn(calls);
        while answered.load(Ordering::Relaxed) < CALLS && !calling.is_finished() {
            sleep(Duration::from_millis(1)).await;
        }
        // At another moment of the call each time.
        sleep(Duration::from_micros(number as u64 * 137 % 1000)).await;
        let asked = administrator.revoke(&token).await?;
        let refused = calling.await??;
        server.knows_of(&token)?;
        all.push(Revoked {
            from_answer_ms: milliseconds(asked.answered, refused.at),
            from_request_ms: milliseconds(asked.at, refused.at),
            call_ms: refused.call.as_secs_f64() * 1000.0,
        });
    }
    Ok(all)
}

/// Disables an agent: everybody is told.
pub(super) async fn disable(
    administrator: &Administrator,
    fleet: &Fleet,
    resource: &str,
    pid: u32,
    number: usize,
) -> Result<Switched, Failure> {
    let agent = kill_switch(number);
    let good = fleet.good().count();
    // It is not disabled before it has done anything.
    administrator.token(&agent, resource).await?;
    sleep(REST).await;
    let before = fleet.arrived.load(Ordering::Relaxed);
    let spent = cpu_seconds(pid)?;
    let asked = administrator.disable(&agent).await?;
    while fleet.arrived.load(Ordering::Relaxed) < before + good && asked.at.elapsed() < PATIENCE {
        sleep(Duration::from_millis(20)).await;
    }
    // What follows is the server's too: it writes down how far each stream has come.
    sleep(REST).await;
    let cpu_s = cpu_seconds(pid)? - spent;
    let told = told::when(fleet, &agent)?;
    let after = |share: f64| {
        let place = ((told.len() as f64 * share).ceil() as usize).max(1) - 1;
        told.get(place).copied().unwrap_or(asked.answered)
    };
    let from_answer = |share| milliseconds(asked.answered, after(share));
    Ok(Switched {
        answer_ms: milliseconds(asked.at, asked.answered),
        half_ms: from_answer(0.5),
        most_ms: from_answer(0.99),
        all_ms: from_answer(1.0),
        all_from_request_ms: milliseconds(asked.at, after(1.0)),
        receivers: good,
        told: told.len(),
        cpu_s,
    })
}

/// From one moment to another, which may be the earlier one.
fn milliseconds(from: Instant, to: Instant) -> f64 {
    let between = to.saturating_duration_since(from).as_secs_f64();
    (between - from.saturating_duration_since(to).as_secs_f64()) * 1000.0
}

/// User and system time of a process (proc(5): fields 14 and 15, in hundredths
/// of a second).
fn cpu_seconds(pid: u32) -> Result<f64, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").ok_or("an unknown /proc/PID/stat")?;
    let times = fields.split(' ').skip(11).take(2);
    let ticks = times.map(str::parse::<u32>).sum::<Result<u32, _>>()?;
    Ok(f64::from(ticks) / 100.0)
}
