//! Choosing among certificates and building chains, without a token.

use super::*;
use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::time::{Duration, UNIX_EPOCH};

/// An authority's certificate and what signs for it; `above`: its signer, else itself.
fn authority(
    name: &str,
    above: Option<&Issuer<'_, KeyPair>>,
) -> (CertificateDer<'static>, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = match above {
        Some(above) => params.signed_by(&key, above).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    (certificate.der().clone(), Issuer::new(params, key))
}

/// A device's certificate that is valid through those years.
fn device(by: &Issuer<'_, KeyPair>, key: &KeyPair, name: &str, (from, to): (i32, i32)) -> Stored {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(to, 1, 1);
    let certificate = params.signed_by(key, by).unwrap().der().clone();
    Stored {
        label: "iot".into(),
        id: Id(vec![1]),
        certificate,
    }
}

fn middle_of(year: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs((year - 1970) * 31_556_952 + 15_778_476)
}

#[test]
fn a_chain_is_built_by_signatures_and_not_by_names() {
    let (root, root_signs) = authority("root", None);
    let (real, real_signs) = authority("between", Some(&root_signs));
    let (namesake, _) = authority("between", Some(&root_signs));
    let key = KeyPair::generate().unwrap();
    let leaf = device(&real_signs, &key, "device", (2026, 2027)).certificate;
    for all in [[&root, &namesake, &real], [&real, &namesake, &root]] {
        let on_token = OnToken {
            candidates: Vec::new(),
            all: all.map(Clone::clone).to_vec(),
        };
        assert_eq!(
            on_token.chain(&leaf, middle_of(2026)),
            [leaf.clone(), real.clone()]
        );
    }
    let on_token = OnToken {
        candidates: Vec::new(),
        all: vec![namesake, root],
    };
    assert_eq!(on_token.chain(&leaf, middle_of(2026)), [leaf]);
}

#[test]
fn certificates_in_a_circle_end_a_chain() {
    let key = || KeyPair::generate().unwrap();
    let named = |name: &str| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let (one_key, other_key) = (key(), key());
    let one = named("one")
        .signed_by(&one_key, &Issuer::new(named("other"), &other_key))
        .unwrap()
        .der()
        .clone();
    let other = named("other")
        .signed_by(&other_key, &Issuer::new(named("one"), &one_key))
        .unwrap()
        .der()
        .clone();
    let on_token = OnToken {
        candidates: Vec::new(),
        all: vec![one.clone(), other.clone()],
    };
    assert_eq!(on_token.chain(&one, middle_of(2026)), [one, other]);
}

#[test]
fn what_is_no_certificate_has_no_chain() {
    let (root, _) = authority("root", None);
    for bytes in [&b""[..], &[0x30, 0], &[0x30, 3, 0x30, 1, 0], &[1, 2, 3]] {
        let none = CertificateDer::from(bytes.to_vec());
        assert!(signed_parts(&none).is_none() && !issued(&root, &none) && !issued(&none, &root));
    }
}

#[test]
fn of_several_the_one_that_is_valid_is_chosen_and_of_renewals_the_last() {
    let (_, signs) = authority("root", None);
    let key = KeyPair::generate().unwrap();
    let old = device(&signs, &key, "device", (2024, 2025));
    let now = device(&signs, &key, "device", (2025, 2027));
    let renewed = device(&signs, &key, "device", (2026, 2028));
    let of = |all: &[&Stored], year| {
        let all: Vec<Stored> = all.iter().map(|stored| (*stored).clone()).collect();
        choose(&all, middle_of(year), &"token").cloned()
    };
    assert_eq!(of(&[&old, &now], 2026).unwrap(), now.certificate);
    assert_eq!(
        of(&[&renewed, &old, &now], 2026).unwrap(),
        renewed.certificate
    );
    // Stored twice, it is one.
    assert_eq!(of(&[&now, &now], 2026).unwrap(), now.certificate);
    // None is: the reason is told where it is checked.
    assert_eq!(of(&[&now, &old], 2030).unwrap(), now.certificate);
    assert!(of(&[], 2026).is_err());
}

#[test]
fn certificates_that_do_not_renew_each_other_are_listed_with_their_fingerprints() {
    let ((_, one), (_, another)) = (authority("root", None), authority("other root", None));
    let key = KeyPair::generate().unwrap();
    let first = device(&one, &key, "device", (2025, 2028));
    for second in [
        device(&one, &key, "another", (2025, 2027)),
        device(&another, &key, "device", (2025, 2027)),
        device(&one, &key, "device", (2026, 2028)),
    ] {
        let both = [first.clone(), second];
        let error = choose(&both, middle_of(2026), &"token").unwrap_err();
        for stored in &both {
            let sha256 = Facts::of(&stored.certificate).unwrap().sha256;
            assert!(
                error.is_unrecoverable() && error.to_string().contains(&sha256),
                "{error}"
            );
        }
    }
}
