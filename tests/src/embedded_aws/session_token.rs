//! GetSessionToken: a user's own session, with MFA or without.

use super::call::Call;
use super::directory::Kind;
use super::error::AwsError;
use super::server::State;
use super::sts::{Answer, Gate, authenticate, enter, requested_duration, take_code, write_session};

const DEFAULT_SECONDS: u64 = 43_200;
const ALLOWED_SECONDS: std::ops::RangeInclusive<u64> = 900..=129_600;

pub(super) async fn respond(state: &State, call: &Call) -> Result<Answer, AwsError> {
    let user = authenticate(state, call)?;
    let expired = match enter(state, call, &user.arn).await {
        Gate::Answered(answer) => return answer,
        Gate::Open { expired } => expired,
    };
    if user.kind != Kind::User {
        return Err(AwsError::new(403, "AccessDenied", "Cannot call GetSessionToken with session credentials"));
    }
    let requested = requested_duration(call, ALLOWED_SECONDS, DEFAULT_SECONDS, state.issuing().short_durations)?;
    let now = state.now();
    let mut directory = state.directory();
    let with_mfa = take_code(&mut directory, call, now)?;
    let session = directory.open_user_session(&user, with_mfa, state.expiration(now, requested, expired));
    drop(directory);
    let mut result = String::new();
    write_session(&mut result, &session);
    Ok(Answer::Result(result))
}
