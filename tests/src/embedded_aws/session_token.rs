//! GetSessionToken: a user's own session, with MFA or without.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::call::Call;
use super::directory::Kind;
use super::error::AwsError;
use super::gate::{Gate, enter};
use super::server::State;
use super::sts::{Answer, authenticate, take_code, write_session};
use super::validate::{TOKEN_CODE, duration};

const DEFAULT: Duration = Duration::from_secs(43_200);
const ALLOWED_SECONDS: RangeInclusive<u64> = 900..=129_600;

pub(super) async fn respond(state: &State, call: &Call) -> Result<Answer, AwsError> {
    let user = authenticate(state, call)?;
    let entry = match enter(state, call, &user.arn).await {
        Gate::Answered(answer) => return answer,
        Gate::Open(entry) => entry,
    };
    let requested = duration(call, &ALLOWED_SECONDS, state.issuing().short_durations)?;
    TOKEN_CODE.optional(call)?;
    if user.kind != Kind::User {
        return Err(AwsError::new(
            403,
            "AccessDenied",
            "Cannot call GetSessionToken with session credentials",
        ));
    }
    let now = state.now();
    let expiration = state.expiration(now, requested.unwrap_or(DEFAULT), entry.expired);
    let mut directory = state.directory();
    let with_mfa = take_code(&mut directory, call, entry.attempt, now)?;
    let session = directory.open_user_session(&user, with_mfa, expiration);
    drop(directory);

    let mut result = String::new();
    write_session(&mut result, &session);
    Ok(Answer::Result(result))
}
