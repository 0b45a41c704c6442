//! `bench_allocations CASE PEER`: allocations and allocated bytes, counted by an allocator that
//! counts.
//!
//! A program of its own, since counting slows every allocation down. What is counted is this
//! thread's; brs's own runtime is not in it, which only fetches.

use std::process::ExitCode;

use allocation_counter::measure;
use brs_tests_benches::{Failure, Figures, figures, micro, sessions, subject};
use tokio::runtime::Builder;

const CALLS: u32 = 1000;
const MANY: u32 = 100;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (case, peer) = (
        arguments.next().unwrap_or_default(),
        arguments.next().unwrap_or_default(),
    );
    match count(&case, &peer) {
        Ok(figures) => {
            println!("@figures {}", serde_json::json!(figures));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn count(case: &str, peer: &str) -> Result<Figures, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut kept = Vec::new();
    let mut failed = None;
    // Keeps what is made until its size is known; the list itself has room already.
    kept.reserve(2 * MANY as usize);
    let mut each = |make: &mut dyn FnMut() -> Result<sessions::Kept, Failure>| {
        let counted = measure(|| {
            for _ in 0..MANY {
                match make() {
                    Ok(one) => kept.push(one),
                    Err(failure) => failed = Some(failure),
                }
            }
        });
        counted.bytes_current as f64 / f64::from(MANY) / 1e3
    };
    let found = match case {
        "identity" => {
            let resolver = runtime.block_on(micro::resolver(peer))?;
            let counted = measure(|| {
                runtime.block_on(async {
                    for _ in 0..CALLS {
                        let _ = resolver.resolve().await;
                    }
                });
            });
            figures([(
                "allocations",
                (counted.count_total / u64::from(CALLS)) as f64,
            )])
        }
        "session" => {
            let base = runtime.block_on(subject::base());
            drop(runtime.block_on(sessions::one_session(peer, &base))?);
            figures([(
                "allocated_each_kb",
                each(&mut || runtime.block_on(sessions::one_session(peer, &base))),
            )])
        }
        "s3" => {
            let base = runtime.block_on(subject::base());
            drop(runtime.block_on(sessions::one_client(peer, &base, true))?);
            let built = each(&mut || runtime.block_on(sessions::one_client(peer, &base, false)));
            let used = each(&mut || runtime.block_on(sessions::one_client(peer, &base, true)));
            figures([
                ("allocated_each_kb", built),
                ("allocated_each_after_request_kb", used),
            ])
        }
        _ => return Err(format!("nothing is counted for {case}").into()),
    };
    failed.map_or(Ok(found), Err)
}
