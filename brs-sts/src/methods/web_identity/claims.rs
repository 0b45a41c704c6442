//! Whose a web identity token is, by its claims: for the fingerprint.
//!
//! The claims are not checked here, STS does that; they only tell askers apart. All that a trust
//! policy can look at counts, such as session tags, source identity and `azp`: the claims beside the
//! subject's are in a digest, but for those that change with each token.

use std::collections::BTreeMap;

use brs_core::Fingerprint;
use serde_json::Value;

use crate::proof::jwt;
use crate::request::fingerprint::sha256;

/// The claims that say nothing of who asks: a token's times and number, and the pod that a token of
/// Kubernetes is for, which AWS does not evaluate and which each host would have another one of.
const OF_THE_TOKEN: [&str; 5] = ["exp", "iat", "nbf", "jti", "kubernetes.io"];

/// Whose token it is; `None` if it is not a JWT with these claims.
pub(super) fn subject(token: &str) -> Option<Fingerprint> {
    let mut claims: BTreeMap<String, Value> = jwt::claims(token)?;
    let mut take = |name| claims.remove(name);
    let (Value::String(iss), Value::String(sub), aud) = (take("iss")?, take("sub")?, take("aud")?)
    else {
        return None;
    };
    claims.retain(|name, _| !OF_THE_TOKEN.contains(&name.as_str()));
    let others = if claims.is_empty() {
        None
    } else {
        Some(sha256(&claims)?)
    };
    Some(
        Fingerprint::new("web-identity")
            .with("iss", iss)
            .with("sub", sub)
            .with("aud", aud)
            .with("others_sha256", others),
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
    fn tokens_with_other_tags_source_identity_or_any_other_claim_are_other_askers() {
        let of = |more: &str| {
            let claims = format!(r#"{{"iss":"https://a","sub":"x","aud":"sts"{more}}}"#);
            subject(&token(&claims)).unwrap().canonical()
        };
        let tags = |team: &str| {
            format!(
                r#","https://aws.amazon.com/tags":{{"principal_tags":{{"team":["{team}"]}},
                    "transitive_tag_keys":["team"]}}"#
            )
        };
        let identity = |who| format!(r#","https://aws.amazon.com/source_identity":"{who}""#);
        let mut all = vec![
            of(""),
            of(&tags("red")),
            of(&tags("blue")),
            of(&identity("alice")),
            of(&identity("bob")),
            of(r#","azp":"one""#),
            of(r#","azp":"two""#),
            of(r#","amr":["mfa"]"#),
            of(r#","email":"bob@example.com""#),
            of(r#","repository_owner_id":"1""#),
        ];
        assert!(!all.iter().any(|told| told.contains("bob")), "{all:?}");
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn what_only_tells_one_token_from_the_next_does_not_count() {
        let of = |n: u32| {
            let pod = format!(r#"{{"pod":{{"name":"p-{n}"}},"warnafter":{n}}}"#);
            let claims = format!(
                r#"{{"iss":"https://a","sub":"x","aud":"sts","azp":"z","exp":{n},"iat":{n},"nbf":{n},
                    "jti":"{n}","kubernetes.io":{pod}}}"#
            );
            subject(&token(&claims)).unwrap()
        };
        assert_eq!(of(1), of(2));
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
            &token(r#"{"iss":"https://a","sub":1,"aud":"sts"}"#),
            &token(r#"{"iss":"https://a","sub":"x"}"#),
        ] {
            assert!(subject(text).is_none(), "{text}");
        }
    }
}
