//! Signatures in a URL's query, from the side of the server: what opens a WebSocket of AWS IoT.
//!
//! As with headers, the request is signed a second time and the two signatures are compared. The
//! session token is not part of the signature, as AWS IoT has it.

use std::time::Duration;

use aws_sigv4::http_request::{
    SessionTokenMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;

use super::error::AwsError;
use super::server::State;
use super::signature::{parse_amz_date, same};

/// The access key id that a URL is signed with, if the signature is good at this moment.
pub(super) fn verify(
    state: &State,
    host: &str,
    path_and_query: &str,
    service: &str,
) -> Result<String, AwsError> {
    let (path, query) = path_and_query
        .split_once('?')
        .ok_or_else(AwsError::missing_authentication)?;
    let fields: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let field = |name: &str| {
        let found = fields
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str());
        found.ok_or_else(|| AwsError::incomplete_signature(&format!("'{name}' parameter")))
    };
    let credential: Vec<&str> = field("X-Amz-Credential")?.split('/').collect();
    let [access_key_id, _, region, scope, "aws4_request"] = credential[..] else {
        return Err(AwsError::incomplete_signature(
            "a 'Credential' of five parts",
        ));
    };
    if scope != service {
        return Err(AwsError::signature(format!(
            "Credential should be scoped to correct service: '{service}'. "
        )));
    }
    let signed = parse_amz_date(field("X-Amz-Date")?)
        .ok_or_else(|| AwsError::incomplete_signature("an 'X-Amz-Date' in ISO-8601"))?;
    let expires = field("X-Amz-Expires")?
        .parse()
        .map(Duration::from_secs)
        .unwrap_or_default();
    let now = state.now();
    match now.duration_since(signed) {
        Ok(age) if age > expires => return Err(AwsError::signature_expired(signed, now - expires)),
        Err(ahead) if ahead.duration() > state.allowed_skew => {
            return Err(AwsError::signature_not_yet_current(
                signed,
                now + state.allowed_skew,
            ));
        }
        _ => {}
    }
    let token = field("X-Amz-Security-Token").ok();
    let (credentials, _) = state.directory().look_up(access_key_id, token, now)?;
    // Signed after the signature means: not at all.
    if query
        .find("X-Amz-Security-Token")
        .is_some_and(|token| query.find("X-Amz-Signature").is_none_or(|at| token < at))
    {
        return Err(AwsError::wrong_signature());
    }
    let again = || {
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.session_token_mode = SessionTokenMode::Exclude;
        settings.expires_in = Some(expires);
        let identity: Identity = credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(scope)
            .time(signed)
            .settings(settings)
            .build()
            .ok()?
            .into();
        let headers = [("host", host)].into_iter();
        let request = SignableRequest::new(
            "GET",
            format!("https://{host}{path}"),
            headers,
            SignableBody::Bytes(b""),
        )
        .ok()?;
        Some(sign(request, &parameters).ok()?.into_parts().1)
    };
    let expected = again().ok_or_else(AwsError::wrong_signature)?;
    if same(&expected, field("X-Amz-Signature")?) {
        Ok(access_key_id.to_owned())
    } else {
        Err(AwsError::wrong_signature())
    }
}
