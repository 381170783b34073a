//! How much CPU time one access-token verification costs, with the issuer's
//! keys already there. Run by `conformance/bench/run`, which writes FILE and
//! compares the result with another verifier's.
//!
//! ```sh
//! verify_bench FILE SECONDS
//! ```
//!
//! FILE is `{"issuer", "audience", "alg", "jwks", "tokens": [...]}`; the answer
//! is `{"verified", "cpu_us"}`, over at least SECONDS of CPU time.

use std::error::Error;
use std::hint::black_box;

use serde::Deserialize;
use writ_resource::Verifier;
use writ_resource::jws::{Algorithm, KeySet};

#[derive(Deserialize)]
struct Input {
    issuer: String,
    audience: String,
    alg: Algorithm,
    jwks: serde_json::Value,
    tokens: Vec<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(seconds), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: verify_bench FILE SECONDS".into());
    };
    let input: Input = serde_json::from_slice(&std::fs::read(file)?)?;
    let budget = seconds.parse::<u64>()? * 1_000_000;

    let verifier = Verifier::for_resource(input.audience)
        .issuer(input.issuer)
        .keys(KeySet::from_jwks(&serde_json::to_vec(&input.jwks)?)?)
        .algorithms([input.alg])
        .build()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        repeat(&verifier, &input.tokens, budget / 2).await?;
        let (verified, cpu_us) = repeat(&verifier, &input.tokens, budget).await?;
        println!(
            "{}",
            serde_json::json!({ "verified": verified, "cpu_us": cpu_us })
        );
        Ok(())
    })
}

/// Verifies the tokens over and over until this much CPU time is spent: how
/// many, and what they cost.
async fn repeat(
    verifier: &Verifier,
    tokens: &[String],
    budget_us: u64,
) -> Result<(usize, u64), Box<dyn Error>> {
    let begun = cpu_us()?;
    let mut verified = 0;
    loop {
        for token in tokens {
            black_box(verifier.verify(token).await?);
        }
        verified += tokens.len();
        let spent = cpu_us()? - begun;
        if spent >= budget_us {
            return Ok((verified, spent));
        }
    }
}

/// User and system time of this process (proc(5): fields 14 and 15, in
/// hundredths of a second).
fn cpu_us() -> Result<u64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").ok_or("an unknown /proc/self/stat")?;
    let mut times = fields.split(' ').skip(11).take(2);
    let mut ticks = || {
        times
            .next()
            .ok_or("an unknown /proc/self/stat")?
            .parse::<u64>()
            .map_err(Box::<dyn Error>::from)
    };
    Ok((ticks()? + ticks()?) * 10_000)
}
