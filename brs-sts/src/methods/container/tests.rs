//! The tables of the AWS SDK's client: which URI counts, which hosts are allowed, whose token is
//! sent.

use super::*;

fn variables(all: &[(&'static str, &str)]) -> Variables {
    Variables::Fixed(
        all.iter()
            .map(|(name, value)| (*name, value.into()))
            .collect(),
    )
}

#[test]
fn the_relative_uri_counts_before_the_full_one_and_what_is_given_before_the_environment() {
    let both = [
        (RELATIVE_URI, "/v2/credentials/7?a=b"),
        (FULL_URI, "http://127.0.0.1/full"),
    ];
    let path = || Params::new().relative_uri("/given");
    let url = || Params::new().full_uri("https://a.example/given");
    for (params, environment, expected) in [
        (
            Params::new(),
            &both[..],
            "http://169.254.170.2/v2/credentials/7?a=b",
        ),
        (Params::new(), &both[1..], "http://127.0.0.1/full"),
        (
            Params::new(),
            &[(RELATIVE_URI, " "), both[1]],
            "http://127.0.0.1/full",
        ),
        (path(), &both, "http://169.254.170.2/given"),
        (url(), &both, "https://a.example/given"),
    ] {
        let endpoint = params.endpoint(&variables(environment)).unwrap();
        assert_eq!(endpoint.to_string(), expected);
    }
    let error = Params::new()
        .endpoint(&variables(&[(FULL_URI, "")]))
        .unwrap_err();
    assert!(
        error.is_unrecoverable() && error.to_string().contains(RELATIVE_URI),
        "{error}"
    );
    for (environment, name) in [
        ([(RELATIVE_URI, "credentials")], RELATIVE_URI),
        ([(RELATIVE_URI, "//evil.example/a")], RELATIVE_URI),
        ([(RELATIVE_URI, "/a b")], RELATIVE_URI),
        ([(FULL_URI, "169.254.170.23/v1")], FULL_URI),
        ([(FULL_URI, "http://10.0.0.1/v1")], FULL_URI),
    ] {
        let error = Params::new()
            .endpoint(&variables(&environment))
            .unwrap_err();
        assert_eq!(error.param(), Some(name), "{error}");
    }
}

#[test]
fn without_tls_only_loopback_and_the_services_own_hosts_are_asked() {
    for (url, good) in [
        ("http://127.0.0.1/get", true),
        ("http://127.0.0.1:8080/get", true),
        ("http://127.9.9.9/get", true),
        ("http://[::1]/get", true),
        ("http://169.254.170.2/v2", true),
        ("http://169.254.170.23/v1/credentials", true),
        ("http://[fd00:ec2::23]/v1/credentials", true),
        // A name is looked up before it is asked.
        ("http://localhost:1234/get", true),
        ("https://anywhere.example/get?a=b", true),
        ("https://192.168.1.1/get", true),
        ("http://169.254.170.3/v2", false),
        ("http://169.254.169.254/v2", false),
        ("http://[fd00:ec2::24]/v1", false),
        ("http://192.168.1.1/get", false),
        ("http://0.0.0.0/get", false),
        ("http://[::ffff:10.0.0.1]/get", false),
        ("ftp://127.0.0.1/get", false),
        ("http://me:hush@127.0.0.1/get", false),
        ("http:///get", false),
        ("/get", false),
        ("", false),
    ] {
        let checked = Params::new().full_uri(url).validate();
        assert_eq!(checked.is_ok(), good, "{url}: {checked:?}");
        if let Err(error) = checked {
            assert_eq!(error.param(), Some("full_uri"));
            assert!(!format!("{error:?}").contains("hush"));
        }
    }
}

#[test]
fn the_tokens_file_counts_before_the_token() {
    let which = |params: Params, all: &[(&'static str, &str)]| match params
        .authorization(&variables(all))
        .unwrap()
    {
        None => "none".to_owned(),
        Some(Authorization::Fixed(token)) => token.expose().to_owned(),
        Some(Authorization::File(fetcher)) => fetcher.source.place(),
    };
    let (token, file) = ((TOKEN, "of-variable"), (TOKEN_FILE, "/of-variable"));
    assert_eq!(which(Params::new(), &[]), "none");
    assert_eq!(which(Params::new(), &[token]), "of-variable");
    assert_eq!(which(Params::new(), &[token, file]), "in `/of-variable`");
    assert_eq!(
        which(Params::new(), &[token, (TOKEN_FILE, "")]),
        "of-variable"
    );
    assert_eq!(
        which(Params::new().authorization_token("given"), &[token, file]),
        "given"
    );
    let given = Params::new().authorization_token_file("/given");
    assert_eq!(which(given, &[token, file]), "in `/given`");
    for (params, param) in [
        (
            Params::new().authorization_token("hush\n"),
            "authorization_token",
        ),
        (Params::new().authorization_token(""), "authorization_token"),
        (
            Params::new()
                .authorization_token("hush")
                .authorization_token_file("/a"),
            "authorization_token",
        ),
        (
            Params::new()
                .relative_uri("/a")
                .full_uri("https://a.example/"),
            "relative_uri",
        ),
        (Params::new().relative_uri("a"), "relative_uri"),
    ] {
        let error = params.validate().unwrap_err();
        assert_eq!(error.param(), Some(param), "{error}");
        assert!(!format!("{error:?} {params:?}").contains("hush"));
    }
}
