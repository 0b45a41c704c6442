//! One MFA code for a chain of roles.
//!
//! An IAM user shows a TOTP code once (`sts-session-token`, STS GetSessionToken); the hub role is
//! assumed with the credentials of that session, and the spoke role with those of the hub. Each
//! session of the chain is refreshed on its own, so a code is needed only when the user's session
//! ends, after 12 hours by default.
//!
//! For real AWS, use an IAM user's keys as base credentials and set `MFA_SERIAL` to the ARN of the
//! user's virtual MFA device, `MFA_SECRET` to its secret (base32, or an `otpauth://` URI),
//! `HUB_ROLE_ARN`, `SPOKE_ROLE_ARN` and `AWS_REGION`. Replace `totp(…)` by `prompt()` to type the
//! codes, or by `command(…)` to ask a YubiKey.

use brs::sts::{MfaTokenProvider, session_token};
use brs::{Identity, SecretSource, prelude::*};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mfa = MfaTokenProvider::totp(SecretSource::env("MFA_SECRET"));
    let user = session_token::Params::new().mfa(std::env::var("MFA_SERIAL")?, mfa);

    let user = brs::open(user).await?;
    let hub = user.assume(std::env::var("HUB_ROLE_ARN")?).await?;
    let spoke = hub.assume(std::env::var("SPOKE_ROLE_ARN")?).await?;

    let who = spoke.whoami().await?;
    for hop in who.chain.iter().chain([&who]) {
        println!("{:<18} {}", hop.method, arn(hop));
    }
    Ok(())
}

fn arn(identity: &Identity) -> &str {
    match &identity.caller {
        Some(caller) => &caller.arn,
        None => "not known to STS",
    }
}
