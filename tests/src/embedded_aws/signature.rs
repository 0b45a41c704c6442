//! Signature Version 4, from the side of the server.
//!
//! A request is signed a second time, with the secret on record, and the two signatures are
//! compared. Only the headers that the client declared as signed take part, as at AWS. Signatures
//! in the query string are `presigned.rs`'s.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

use super::call::Call;
use super::directory::Principal;
use super::error::AwsError;
use super::s3;
use super::server::State;

/// Headers that the signer adds by itself.
const ADDED_BY_SIGNER: [&str; 3] = ["x-amz-date", "x-amz-security-token", "x-amz-content-sha256"];

/// The `Authorization` header of a signed request.
#[derive(Debug)]
pub(super) struct Authorization {
    pub(super) access_key_id: String,
    date: String,
    pub(super) region: String,
    pub(super) service: String,
    signed_headers: Vec<String>,
    signature: String,
}

impl Authorization {
    /// Reads the header, without judging it.
    pub(super) fn of(call: &Call) -> Result<Self, AwsError> {
        let header = call
            .header("authorization")
            .ok_or_else(AwsError::missing_authentication)?;
        let fields = header
            .strip_prefix("AWS4-HMAC-SHA256")
            .ok_or_else(AwsError::missing_authentication)?;
        let field = |name: &str| {
            fields
                .split(',')
                .find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
                .ok_or_else(|| AwsError::incomplete_signature(&format!("'{name}' parameter")))
        };
        let credential: Vec<&str> = field("Credential")?.split('/').collect();
        let [access_key_id, date, region, service, "aws4_request"] = credential[..] else {
            return Err(AwsError::incomplete_signature(
                "a 'Credential' of five parts",
            ));
        };
        Ok(Self {
            access_key_id: access_key_id.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            signed_headers: field("SignedHeaders")?
                .split(';')
                .map(str::to_ascii_lowercase)
                .collect(),
            signature: field("Signature")?.to_owned(),
        })
    }

    /// Checks scope, time and signature of a request against the credentials on record.
    pub(super) fn verify(
        &self,
        call: &Call,
        service: &str,
        credentials: &Credentials,
        now: SystemTime,
        allowed_skew: Duration,
    ) -> Result<(), AwsError> {
        let stamp = call
            .header("x-amz-date")
            .ok_or_else(|| AwsError::incomplete_signature("an 'X-Amz-Date' header"))?;
        let signed = parse_amz_date(stamp)
            .ok_or_else(|| AwsError::incomplete_signature("an 'X-Amz-Date' in ISO-8601"))?;
        if self.service != service {
            return Err(AwsError::signature(format!(
                "Credential should be scoped to correct service: '{service}'. "
            )));
        }
        if !stamp.starts_with(&self.date) || self.date.len() != 8 {
            return Err(AwsError::signature(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
                 '{}' != '{}'",
                self.date,
                &stamp[..8],
            )));
        }
        match now.duration_since(signed) {
            // The stamp has whole seconds; a skew of exactly the limit is still accepted.
            Ok(age) if age >= allowed_skew.saturating_add(Duration::from_secs(1)) => {
                return Err(AwsError::signature_expired(signed, now - allowed_skew));
            }
            Err(ahead) if ahead.duration() > allowed_skew => {
                return Err(AwsError::signature_not_yet_current(
                    signed,
                    now + allowed_skew,
                ));
            }
            _ => {}
        }
        let expected = self
            .sign_again(call, credentials, signed)
            .ok_or_else(AwsError::wrong_signature)?;
        if same(&expected, &self.signature) {
            Ok(())
        } else {
            Err(AwsError::wrong_signature())
        }
    }

    /// The signature that this request should carry; `None` if it cannot be signed at all.
    fn sign_again(
        &self,
        call: &Call,
        credentials: &Credentials,
        signed: SystemTime,
    ) -> Option<String> {
        let host = call.header("host")?;
        let path = call
            .parts
            .uri
            .path_and_query()
            .map_or("/", |path| path.as_str());
        let headers: Vec<(&str, &str)> = call
            .parts
            .headers
            .iter()
            .filter(|(name, _)| {
                self.signed_headers
                    .iter()
                    .any(|signed| signed == name.as_str())
            })
            .filter(|(name, _)| !ADDED_BY_SIGNER.contains(&name.as_str()))
            .map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
            .collect::<Option<_>>()?;
        let mut settings = SigningSettings::default();
        settings.excluded_headers = None;
        if self
            .signed_headers
            .iter()
            .any(|name| name == "x-amz-content-sha256")
        {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        if self.service == s3::SERVICE {
            // The one service that takes paths as they are.
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        let identity: Identity = credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(signed)
            .settings(settings)
            .build()
            .ok()?
            .into();
        let body = match call.header("x-amz-content-sha256") {
            Some("UNSIGNED-PAYLOAD") => SignableBody::UnsignedPayload,
            _ => SignableBody::Bytes(&call.body),
        };
        let uri = format!("http://{host}{path}");
        let request =
            SignableRequest::new(call.parts.method.as_str(), uri, headers.into_iter(), body)
                .ok()?;
        Some(sign(request, &parameters).ok()?.into_parts().1)
    }
}

/// Who signed the call to a service, once the signature is found good.
pub(super) fn authenticate(
    state: &State,
    call: &Call,
    service: &str,
) -> Result<Principal, AwsError> {
    let authorization = Authorization::of(call)?;
    let now = state.now();
    let session_token = call.header("x-amz-security-token");
    let (credentials, principal) =
        state
            .directory()
            .look_up(&authorization.access_key_id, session_token, now)?;
    authorization.verify(call, service, &credentials, now, state.allowed_skew)?;
    // Signatures come first, permissions second; this action needs none.
    let action = call.action();
    if action != "GetCallerIdentity" && state.directory().is_revoked(&authorization.access_key_id) {
        return Err(AwsError::explicitly_denied(
            &principal.arn,
            &format!("{service}:{action}"),
        ));
    }
    Ok(principal)
}

/// `20260102T030405Z`, the date format of signatures.
pub(super) fn amz_date(time: SystemTime) -> String {
    let seconds = DateTime::from_secs(DateTime::from(time).secs());
    let text = seconds
        .fmt(Format::DateTime)
        .expect("the server's clock shows a year of four digits");
    text.replace(['-', ':'], "")
}

pub(super) fn parse_amz_date(text: &str) -> Option<SystemTime> {
    if !text.is_ascii() || text.len() != 16 {
        return None;
    }
    let (date, time) = (&text[..8], &text[9..15]);
    let spelled = format!(
        "{}-{}-{}T{}:{}:{}Z",
        &date[..4],
        &date[4..6],
        &date[6..],
        &time[..2],
        &time[2..4],
        &time[4..]
    );
    DateTime::from_str(&spelled, Format::DateTime)
        .ok()?
        .try_into()
        .ok()
}

/// Compares without telling by its duration where the difference is.
pub(super) fn same(a: &str, b: &str) -> bool {
    a.len() == b.len()
        && a.bytes()
            .zip(b.bytes())
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_dates_survive_a_round_trip() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045);
        assert_eq!(amz_date(time), "20260102T030405Z");
        assert_eq!(parse_amz_date("20260102T030405Z"), Some(time));
    }

    #[test]
    fn other_spellings_of_a_date_are_refused() {
        for text in [
            "",
            "20260102",
            "2026-01-02T03:04:05Z",
            "20261302T030405Z",
            "2026010xT030405Z",
            "é0260102T03040Z",
        ] {
            assert_eq!(parse_amz_date(text), None, "{text}");
        }
    }
}
