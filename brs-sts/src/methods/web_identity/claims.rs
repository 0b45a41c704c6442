//! Whose a web identity token is, by its claims: for the fingerprint.
//!
//! The claims are not checked here, STS does that; they only tell askers apart.

use brs_core::Fingerprint;
use serde::Deserialize;
use serde_json::Value;

use crate::proof::jwt;

/// The claims by which AWS knows the subject.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Value,
}

/// Whose token it is; `None` if it is not a JWT with these claims.
pub(super) fn subject(token: &str) -> Option<Fingerprint> {
    let Claims { iss, sub, aud } = jwt::claims(token)?;
    Some(
        Fingerprint::new("web-identity")
            .with("iss", iss)
            .with("sub", sub)
            .with("aud", aud),
    )
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::base64;

    use super::*;

    fn token(claims: &str) -> String {
        let text = base64::encode(claims).replace('+', "-").replace('/', "_");
        format!("e30.{}.c2ln", text.trim_end_matches('='))
    }

    #[test]
    fn the_subject_tells_tokens_apart_and_their_times_do_not() {
        let of = |claims: &str| subject(&token(claims)).map(|told| told.canonical());
        let one = of(r#"{"iss":"https://a","sub":"x?>~","aud":["sts"],"exp":1}"#).unwrap();
        assert_eq!(
            one,
            r#"{"aud":["sts"],"iss":"https://a","method":"web-identity","sub":"x?>~"}"#
        );
        let later = of(r#"{"iss":"https://a","sub":"x?>~","aud":["sts"],"exp":2}"#);
        assert_eq!(later.unwrap(), one);
        let other = of(r#"{"iss":"https://a","sub":"y","aud":["sts"],"exp":1}"#);
        assert_ne!(other.unwrap(), one);
    }

    #[test]
    fn what_is_no_such_token_has_no_subject() {
        for text in [
            "",
            "a.b",
            "opaque-token",
            "e30.!!.c2ln",
            "e30.e30.c2ln",
            "a.b.c.d",
        ] {
            assert!(subject(text).is_none(), "{text}");
        }
    }
}
