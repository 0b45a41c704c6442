//! What a JSON web token says of itself, such as when it expires. Nothing is verified: that is AWS's
//! part.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

/// The token's `exp`; `None` for what is not a JSON web token, or one without it.
pub(crate) fn expiration(token: &str) -> Option<SystemTime> {
    #[derive(serde::Deserialize)]
    struct Claims {
        exp: f64,
    }
    let claims: Claims = claims(token)?;
    UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(claims.exp).ok()?)
}

/// The token's claims; `None` for what is not a JSON web token, or has others.
pub(crate) fn claims<T: serde::de::DeserializeOwned>(token: &str) -> Option<T> {
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let payload = Zeroizing::new(standard_base64(payload));
    let payload = Zeroizing::new(aws_smithy_types::base64::decode(payload.as_str()).ok()?);
    serde_json::from_slice(&payload).ok()
}

/// The alphabet and padding that the decoder reads.
fn standard_base64(url: &str) -> String {
    let padding = "=".repeat((4 - url.len() % 4) % 4);
    url.replace('-', "+").replace('_', "/") + &padding
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        let encoded = aws_smithy_types::base64::encode(claims);
        let url = encoded.replace('+', "-").replace('/', "_");
        format!("eyJhbGciOiJub25lIn0.{}.c2ln", url.trim_end_matches('='))
    }

    #[test]
    fn the_expiry_is_read_from_the_claims() {
        let at = |seconds: f64| UNIX_EPOCH.checked_add(Duration::from_secs_f64(seconds));
        for (claims, expected) in [
            (r#"{"exp":1900000000}"#, at(1_900_000_000.0)),
            // RFC 7519 allows a fraction.
            (
                r#"{"iss":"ÿ?~>","exp":1900000000.5,"aud":["a"]}"#,
                at(1_900_000_000.5),
            ),
            (r#"{"exp":0}"#, at(0.0)),
            (r#"{"exp":-1}"#, None),
            (r#"{"exp":1e300}"#, None),
            (r#"{"exp":"1900000000"}"#, None),
            (r#"{"iat":1}"#, None),
            ("[]", None),
            ("", None),
        ] {
            assert_eq!(expiration(&token(claims)), expected, "{claims}");
        }
    }

    #[test]
    fn what_is_no_json_web_token_has_none() {
        let four = format!("{}.more", token(r#"{"exp":1}"#));
        for text in [
            "",
            "Atza|IQEBLjAsAhR",
            "a.b",
            "a.!.c",
            "eyJ.first.token",
            four.as_str(),
        ] {
            assert_eq!(expiration(text), None, "{text}");
        }
    }
}
