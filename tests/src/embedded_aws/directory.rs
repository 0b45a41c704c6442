//! Who may call: users, roles, sessions and their keys.
//!
//! Owns every secret the server has issued. Nothing here waits or speaks HTTP; the server keeps one
//! directory behind a mutex.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_smithy_types::DateTime;

use super::error::AwsError;
use super::mfa::Devices;

/// The account of the server's own users and roles.
pub(crate) const ACCOUNT: &str = "123456789012";

/// Who signed a request.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    pub(crate) account: String,
    pub(crate) arn: String,
    pub(crate) user_id: String,
    pub(crate) kind: Kind,
    pub(crate) inherited: Inherited,
}

/// What the sessions of further roles inherit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inherited {
    /// Keys of tags, in lower case.
    pub(crate) transitive_tags: HashSet<String>,
    pub(crate) source_identity: Option<String>,
}

/// What a principal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    User,
    /// A user's session of GetSessionToken.
    UserSession {
        with_mfa: bool,
    },
    RoleSession,
    /// A root user's session for one task.
    RootSession,
}

/// What a role asks for beyond being allowed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    pub(crate) mfa: bool,
    pub(crate) external_id: Option<String>,
    pub(crate) max_duration: Option<Duration>,
}

/// A token of an identity provider.
#[derive(Clone, Debug)]
pub(crate) struct WebIdentity {
    pub(crate) subject: String,
    /// From when on it is refused.
    pub(crate) expired_at: Option<SystemTime>,
}

/// An assertion of an identity provider.
#[derive(Clone, Debug)]
pub(crate) struct SamlAssertion {
    pub(crate) role_arn: String,
    pub(crate) provider_arn: String,
    pub(crate) session_name: String,
    pub(crate) issued_at: SystemTime,
}

/// A session that was just issued.
pub(crate) struct Session {
    pub(crate) credentials: Credentials,
    pub(crate) expiration: SystemTime,
    pub(crate) principal: Principal,
}

/// All principals of one server.
#[derive(Default)]
pub(crate) struct Directory {
    keys: HashMap<String, Key>,
    users: HashMap<String, Principal>,
    role_ids: HashMap<String, String>,
    added_roles: HashSet<String>,
    denied_roles: HashSet<String>,
    conditions: HashMap<String, Conditions>,
    pub(super) devices: Devices,
    pub(crate) web_identities: HashMap<String, WebIdentity>,
    pub(crate) saml_providers: HashSet<String>,
    pub(crate) saml_assertions: HashMap<String, SamlAssertion>,
    pub(crate) member_accounts: HashSet<String>,
    pub(crate) sso_logins: HashSet<String>,
    pub(super) sso_devices: super::sso::device::Devices,
    /// Refresh tokens, each with the access token that it is good for.
    pub(crate) sso_renewals: HashMap<String, String>,
    secrets: Vec<String>,
}

struct Key {
    credentials: Credentials,
    expiration: Option<SystemTime>,
    ended: bool,
    /// Whether a policy of the role denies everything to this session.
    revoked: bool,
    principal: Principal,
}

impl Directory {
    /// Adds an access key to the user, who is created if there is none of this name.
    pub(crate) fn add_user(&mut self, name: &str) -> Credentials {
        let principal = self
            .users
            .entry(name.to_owned())
            .or_insert_with(|| Principal {
                account: ACCOUNT.to_owned(),
                arn: format!("arn:aws:iam::{ACCOUNT}:user/{name}"),
                user_id: identifier("AIDA"),
                kind: Kind::User,
                inherited: Inherited::default(),
            });
        let principal = principal.clone();
        self.issue("AKIA", None, None, principal)
    }

    pub(crate) fn add_role(&mut self, arn: &str) {
        assert!(
            Role::parse(arn).is_some(),
            "`{arn}` is not the ARN of a role"
        );
        self.denied_roles.remove(arn);
        self.added_roles.insert(arn.to_owned());
    }

    pub(crate) fn deny_role(&mut self, arn: &str) {
        assert!(
            Role::parse(arn).is_some(),
            "`{arn}` is not the ARN of a role"
        );
        self.denied_roles.insert(arn.to_owned());
    }

    /// What a role asks for, to be changed.
    pub(crate) fn conditions_of(&mut self, role_arn: &str) -> &mut Conditions {
        assert!(
            Role::parse(role_arn).is_some(),
            "`{role_arn}` is not the ARN of a role"
        );
        self.conditions.entry(role_arn.to_owned()).or_default()
    }

    pub(crate) fn conditions(&self, role_arn: &str) -> Conditions {
        self.conditions.get(role_arn).cloned().unwrap_or_default()
    }

    pub(crate) fn add_web_identity(
        &mut self,
        token: &str,
        subject: &str,
        expired_at: Option<SystemTime>,
    ) {
        let identity = WebIdentity {
            subject: subject.to_owned(),
            expired_at,
        };
        self.web_identities.insert(token.to_owned(), identity);
    }

    pub(crate) fn expire(&mut self, access_key_id: &str) {
        match self.keys.get_mut(access_key_id) {
            Some(key) => key.ended = true,
            None => panic!("{access_key_id} was never issued here and cannot be ended"),
        }
    }

    pub(crate) fn revoke(&mut self, access_key_id: &str) {
        let Some(key) = self.keys.get(access_key_id) else {
            panic!("{access_key_id} was never issued here and cannot be revoked");
        };
        // What stands before the session's name is the role's.
        let role = |principal: &Principal| {
            principal
                .arn
                .rsplit_once('/')
                .map(|(role, _)| role.to_owned())
        };
        let of = role(&key.principal);
        for key in self
            .keys
            .values_mut()
            .filter(|key| key.principal.kind == Kind::RoleSession)
        {
            key.revoked |= role(&key.principal) == of;
        }
    }

    pub(crate) fn arn_of(&self, access_key_id: &str) -> Option<String> {
        let key = self.keys.get(access_key_id)?;
        Some(key.principal.arn.clone())
    }

    pub(crate) fn is_revoked(&self, access_key_id: &str) -> bool {
        self.keys.get(access_key_id).is_some_and(|key| key.revoked)
    }

    pub(crate) fn issued_secrets(&self) -> Vec<String> {
        self.secrets.clone()
    }

    pub(crate) fn may_assume(&self, role: &Role<'_>) -> bool {
        let known = role.account == ACCOUNT || self.added_roles.contains(role.arn);
        known && !self.denied_roles.contains(role.arn)
    }

    /// Finds the credentials that a request claims to be signed with, if they are good at this
    /// moment.
    pub(crate) fn look_up(
        &self,
        access_key_id: &str,
        session_token: Option<&str>,
        now: SystemTime,
    ) -> Result<(Credentials, Principal), AwsError> {
        let key = self
            .keys
            .get(access_key_id)
            .ok_or_else(AwsError::invalid_token)?;
        if key.credentials.session_token() != session_token
            || (key.ended && key.principal.kind == Kind::User)
        {
            return Err(AwsError::invalid_token());
        }
        if key.ended || key.expiration.is_some_and(|expiration| expiration <= now) {
            return Err(AwsError::expired_token());
        }
        Ok((key.credentials.clone(), key.principal.clone()))
    }

    /// Issues a session of the role until `expiration`, in whole seconds as STS does.
    pub(crate) fn open_session(
        &mut self,
        role: &Role<'_>,
        session_name: &str,
        expiration: SystemTime,
        inherited: Inherited,
    ) -> Session {
        let role_id = self
            .role_ids
            .entry(role.arn.to_owned())
            .or_insert_with(|| identifier("AROA"));
        let principal = Principal {
            account: role.account.to_owned(),
            arn: format!(
                "arn:{}:sts::{}:assumed-role/{}/{session_name}",
                role.partition, role.account, role.name
            ),
            user_id: format!("{role_id}:{session_name}"),
            kind: Kind::RoleSession,
            inherited,
        };
        self.open(principal, expiration)
    }

    /// Issues a session of a user.
    pub(crate) fn open_user_session(
        &mut self,
        user: &Principal,
        with_mfa: bool,
        expiration: SystemTime,
    ) -> Session {
        self.open(
            Principal {
                kind: Kind::UserSession { with_mfa },
                ..user.clone()
            },
            expiration,
        )
    }

    /// Issues a session of an account's root user, for one task.
    pub(crate) fn open_root_session(&mut self, account: &str, expiration: SystemTime) -> Session {
        let principal = Principal {
            account: account.to_owned(),
            arn: format!("arn:aws:sts::{account}:assumed-root"),
            user_id: account.to_owned(),
            kind: Kind::RootSession,
            inherited: Inherited::default(),
        };
        self.open(principal, expiration)
    }

    fn open(&mut self, principal: Principal, expiration: SystemTime) -> Session {
        let seconds = DateTime::from_secs(DateTime::from(expiration).secs());
        let expiration = seconds
            .try_into()
            .expect("whole seconds of a system time are one");
        let token = format!("IQoJb3JpZ2luX2Vj{}==", random(320, BASE64));
        let credentials = self.issue("ASIA", Some(token), Some(expiration), principal.clone());
        Session {
            credentials,
            expiration,
            principal,
        }
    }

    fn issue(
        &mut self,
        prefix: &str,
        session_token: Option<String>,
        expiration: Option<SystemTime>,
        principal: Principal,
    ) -> Credentials {
        let (access_key_id, secret) = (identifier(prefix), random(40, BASE64));
        self.secrets.push(secret.clone());
        self.secrets.extend(session_token.clone());
        let credentials = Credentials::new(
            access_key_id.clone(),
            secret,
            session_token,
            expiration,
            "embedded-aws",
        );
        let key = Key {
            credentials: credentials.clone(),
            expiration,
            ended: false,
            revoked: false,
            principal,
        };
        self.keys.insert(access_key_id, key);
        credentials
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory")
            .field("access_key_ids", &self.keys.keys())
            .finish_non_exhaustive()
    }
}

/// The parts of a role's ARN.
pub(crate) struct Role<'a> {
    pub(crate) arn: &'a str,
    partition: &'a str,
    account: &'a str,
    name: &'a str,
}

impl<'a> Role<'a> {
    /// Takes the ARN apart; `None` if it is not a role's.
    pub(crate) fn parse(arn: &'a str) -> Option<Self> {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", partition, "iam", "", account, resource] = parts[..] else {
            return None;
        };
        let name = resource.strip_prefix("role/")?.rsplit('/').next()?;
        let good_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        let good_name = (1..=64).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte));
        (!partition.is_empty() && good_account && good_name).then_some(Self {
            arn,
            partition,
            account,
            name,
        })
    }
}

const BASE32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A unique id of AWS's shape: four letters that tell its kind, and 80 random bits.
fn identifier(prefix: &str) -> String {
    format!("{prefix}{}", random(16, BASE32))
}

pub(crate) fn random(length: usize, alphabet: &[u8]) -> String {
    (0..length)
        .map(|_| char::from(alphabet[fastrand::usize(..alphabet.len())]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_arn_is_taken_apart_around_its_path() {
        let role = Role::parse("arn:aws-cn:iam::123456789012:role/team/a/demo").unwrap();
        assert_eq!(
            (role.partition, role.account, role.name),
            ("aws-cn", "123456789012", "demo")
        );
    }

    #[test]
    fn what_is_not_a_role_arn_is_refused() {
        for arn in [
            "",
            "demo",
            "arn:aws:iam::123456789012:user/demo",
            "arn:aws:iam::1234:role/demo",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role/de mo",
            "arn:aws:sts::123456789012:role/demo",
            "arn::iam::123456789012:role/demo",
        ] {
            assert!(Role::parse(arn).is_none(), "{arn}");
        }
    }
}
