//! A program with the AWS SDK for Rust alone, as tests start it: it calls AWS as often as its
//! argument says, with what `aws-config` finds by itself.
//!
//! Prints a line a call, `ok ARN` or `failed ERROR`, and fails if a call did, as the programs of
//! other languages in `tests/clients` do.

use std::process::ExitCode;

use aws_config::BehaviorVersion;
use aws_smithy_types::error::display::DisplayErrorContext;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let calls = std::env::args().nth(1).and_then(|calls| calls.parse().ok());
    let Some(calls) = calls else {
        eprintln!("usage: client_probe CALLS");
        return ExitCode::from(2);
    };
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let client = aws_sdk_sts::Client::new(&config);
    let mut code = ExitCode::SUCCESS;
    for _ in 0_u32..calls {
        match client.get_caller_identity().send().await {
            Ok(caller) => println!("ok {}", caller.arn().unwrap_or_default()),
            Err(error) => {
                code = ExitCode::FAILURE;
                println!("failed {}", DisplayErrorContext(&error));
            }
        }
    }
    code
}
