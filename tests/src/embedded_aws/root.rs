//! AssumeRoot: one privileged task in a member account, for the management account.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::call::Call;
use super::directory::Kind;
use super::error::AwsError;
use super::gate::{Gate, enter};
use super::server::State;
use super::sts::{Answer, authenticate, write_session};
use super::validate::{TARGET_PRINCIPAL, TASK_POLICY, duration, missing};

pub(super) const ACTION: &str = "AssumeRoot";
const LONGEST: Duration = Duration::from_secs(900);
const ALLOWED_SECONDS: RangeInclusive<u64> = 0..=900;
const TASKS: &str = "arn:aws:iam::aws:policy/root-task/";

pub(super) async fn respond(state: &State, call: &Call) -> Result<Answer, AwsError> {
    let caller = authenticate(state, call)?;
    let entry = match enter(state, call, &caller.arn).await {
        Gate::Answered(answer) => return answer,
        Gate::Open(entry) => entry,
    };
    let target = TARGET_PRINCIPAL.required(call)?;
    let policy = TASK_POLICY
        .optional(call)?
        .ok_or_else(|| missing("taskPolicyArn"))?;
    let requested = duration(call, &ALLOWED_SECONDS, false)?;
    let account = target
        .strip_prefix("arn:aws:iam::")
        .and_then(|rest| rest.strip_suffix(":root"))
        .unwrap_or(target);
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    if !is_account {
        return Err(AwsError::validation(format!("{target} is invalid")));
    }
    if !policy.starts_with(TASKS) {
        return Err(AwsError::validation(format!(
            "{policy} is not a supported task policy"
        )));
    }
    let mut directory = state.directory();
    // A member of the organization; never from a session that is itself a task's.
    if !directory.member_accounts.contains(account) || caller.kind == Kind::RootSession {
        let resource = format!("arn:aws:iam::{account}:root");
        return Err(AwsError::access_denied(&caller.arn, ACTION, &resource));
    }
    let expiration = state.expiration(state.now(), requested.unwrap_or(LONGEST), entry.expired);
    let session = directory.open_root_session(account, expiration);
    drop(directory);

    let mut result = String::new();
    write_session(&mut result, &session);
    Ok(Answer::Result(result))
}
