//! Names of all partitions, what is refused, and the URL.

use super::*;

#[test]
fn every_form_of_awss_is_accepted_and_tells_its_region() {
    for (host, region) in [
        (
            "c2abcdefghijkl.credentials.iot.eu-west-1.amazonaws.com",
            "eu-west-1",
        ),
        ("C2ABC.Credentials.IoT.us-east-1.amazonaws.com", "us-east-1"),
        (
            "c2abc.credentials.iot.eu-west-1.amazonaws.com:8443",
            "eu-west-1",
        ),
        (
            "c2abc.credentials.iot.cn-north-1.amazonaws.com.cn",
            "cn-north-1",
        ),
        (
            "c2abc.credentials.iot-fips.us-gov-west-1.amazonaws.com",
            "us-gov-west-1",
        ),
        ("c2abc.credentials.iot.eu-west-1.api.aws", "eu-west-1"),
        (
            "c2abc.credentials.iot.eusc-de-east-1.amazonaws.eu",
            "eusc-de-east-1",
        ),
        (
            "vpce-0123-abc.credentials.iot.eu-west-1.vpce.amazonaws.com",
            "eu-west-1",
        ),
        (
            "vpce-0123-abc-eu-west-1a.credentials.iot.eu-west-1.vpce.amazonaws.com",
            "eu-west-1",
        ),
    ] {
        let endpoint = Endpoint::parse(host, false).unwrap();
        assert_eq!(
            (endpoint.region.as_deref(), endpoint.authority),
            (Some(region), host.to_ascii_lowercase())
        );
    }
}

#[test]
fn names_of_all_partitions_are_known() {
    for (partition, region, domains) in [
        ("aws", "eu-west-1", ["amazonaws.com", "api.aws"]),
        (
            "aws-cn",
            "cn-north-1",
            ["amazonaws.com.cn", "api.amazonwebservices.com.cn"],
        ),
        ("aws-us-gov", "us-gov-west-1", ["amazonaws.com", "api.aws"]),
        ("aws-iso", "us-iso-east-1", ["c2s.ic.gov", "api.aws.ic.gov"]),
        (
            "aws-iso-b",
            "us-isob-east-1",
            ["sc2s.sgov.gov", "api.aws.scloud"],
        ),
        (
            "aws-iso-e",
            "eu-isoe-west-1",
            ["cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"],
        ),
        (
            "aws-iso-f",
            "us-isof-south-1",
            ["csp.hci.ic.gov", "api.aws.hci.ic.gov"],
        ),
        (
            "aws-eusc",
            "eusc-de-east-1",
            ["amazonaws.eu", "api.amazonwebservices.eu"],
        ),
    ] {
        for domain in domains {
            for service in ["iot", "iot-fips"] {
                for vpc in ["", "vpce."] {
                    let host = format!("c2abc.credentials.{service}.{region}.{vpc}{domain}");
                    let endpoint = Endpoint::parse(&host, false).unwrap();
                    assert_eq!(
                        endpoint.region.as_deref(),
                        Some(region),
                        "{partition}: {host}"
                    );
                }
                let data = Endpoint::parse(&format!("a1-ats.{service}.{region}.{domain}"), true)
                    .unwrap_err();
                assert!(
                    data.to_string().contains("is a data endpoint"),
                    "{partition}: {data}"
                );
            }
        }
    }
}

#[test]
fn a_region_in_another_partitions_domain_is_refused() {
    for (region, domain, right) in [
        ("eu-west-1", "amazonaws.com.cn", "amazonaws.com"),
        ("us-gov-west-1", "amazonaws.com.cn", "amazonaws.com"),
        ("cn-north-1", "amazonaws.com", "amazonaws.com.cn"),
        ("cn-north-1", "api.aws", "amazonaws.com.cn"),
        ("eusc-de-east-1", "amazonaws.com", "amazonaws.eu"),
        ("us-iso-east-1", "sc2s.sgov.gov", "c2s.ic.gov"),
        ("us-isob-east-1", "c2s.ic.gov", "sc2s.sgov.gov"),
    ] {
        for host in [
            format!("c2abc.credentials.iot.{region}.{domain}"),
            format!("c2abc.credentials.iot-fips.{region}.{domain}:443"),
            format!("vpce-1.credentials.iot.{region}.vpce.{domain}"),
        ] {
            for any_host in [false, true] {
                let text = Endpoint::parse(&host, any_host).unwrap_err().to_string();
                let expected = format!(
                    "names the region `{region}`, whose hosts end in `{right}` and not in `{domain}`"
                );
                assert!(
                    text.contains(&expected) && text.contains("iot:CredentialProvider"),
                    "{text}"
                );
            }
        }
    }
    // Regions that are not known yet, and domains that are not AWS's.
    assert_eq!(wrong_partition("xx-new-1", "amazonaws.com"), None);
    assert_eq!(wrong_partition("cn-north-1", "example.com"), None);
}

#[test]
fn blanks_around_an_endpoint_are_no_part_of_it() {
    let host = "c2abc.credentials.iot.eu-west-1.amazonaws.com";
    for text in [
        format!("{host} "),
        format!(" {host}\r\n"),
        format!("\t{host}\u{a0}"),
    ] {
        assert_eq!(Endpoint::parse(&text, false).unwrap().authority, host);
    }
    for (text, words) in [
        (format!("c2abc .{}", &host[6..]), "number 6"),
        (
            format!("{host}\u{200b}"),
            "has an invalid character for a host name, number 46",
        ),
        (format!("{host}."), "ends with a dot"),
        (format!("https://{host} "), "leave out `https://`"),
    ] {
        let error = Endpoint::parse(&text, true).unwrap_err();
        assert!(error.to_string().contains(words), "{text}: {error}");
    }
}

#[test]
fn a_data_endpoint_is_refused_with_the_command_for_the_right_one() {
    for host in [
        "a1b2c3-ats.iot.eu-west-1.amazonaws.com",
        "a1b2c3.iot.eu-west-1.amazonaws.com",
        "a1b2c3-ats.iot-fips.us-east-1.amazonaws.com:443",
        "data.iot.eu-west-1.amazonaws.com",
        "a1b2c3-ats.iot.eu-west-1.api.aws",
        "vpce-0123-abc.data.iot.eu-west-1.vpce.amazonaws.com",
    ] {
        for any_host in [false, true] {
            let error = Endpoint::parse(host, any_host).unwrap_err();
            assert!(
                error.to_string().contains("iot:CredentialProvider"),
                "{error}"
            );
            assert!(
                error.to_string().contains("data endpoint") && error.param() == Some("endpoint"),
                "{error}"
            );
        }
    }
}

#[test]
fn other_hosts_need_to_be_allowed() {
    for host in [
        "localhost",
        "localhost:8443",
        "127.0.0.1:8443",
        "[::1]:8443",
        "gateway.example",
        "c2abc.credentials.iot.eu-west-1.example.com",
        "c2abc.credentials.iot.eu-west-1.amazonaws.com.example",
        "credentials.iot.eu-west-1.amazonaws.com",
        "c2abc.credentials.s3.eu-west-1.amazonaws.com",
        "evilamazonaws.com",
        // AWS's, and not data endpoints: they may be meant if any host is allowed.
        "gateway.data.example.amazonaws.com",
        "iot.eu-west-1.amazonaws.com",
        "data.jobs.iot.eu-west-1.amazonaws.com",
    ] {
        let error = Endpoint::parse(host, false).unwrap_err();
        assert!(
            error.to_string().contains("allow_any_endpoint"),
            "{host}: {error}"
        );
        let endpoint = Endpoint::parse(host, true).unwrap();
        assert_eq!((endpoint.authority.as_str(), endpoint.region), (host, None));
    }
}

#[test]
fn what_is_no_host_is_refused_whatever_is_allowed() {
    for text in [
        "",
        ":443",
        "https://c2abc.credentials.iot.eu-west-1.amazonaws.com",
        "host/path",
        "host:",
        "host:0",
        "host:65536",
        "host:12x",
        "host:1:2",
        "user@host",
        "host?x",
        "host#x",
        "ho st",
        "-host",
        "a..b",
        "[::1",
        "[host]:1",
        "[::1]x",
        "::1",
        "hö.example",
        &"x.".repeat(150),
    ] {
        assert!(Endpoint::parse(text, true).is_err(), "{text}");
    }
}

#[test]
fn the_role_alias_is_checked_and_percent_encoded() {
    let endpoint = Endpoint::parse("localhost:8443", true).unwrap();
    assert_eq!(
        endpoint.url("a=b,c@d-e_f"),
        "https://localhost:8443/role-aliases/a%3Db%2Cc%40d-e_f/credentials"
    );
    assert!(check_role_alias("a=b,c@d-e_F9").is_ok() && check_role_alias(&"x".repeat(128)).is_ok());
    for alias in ["", "a/b", "a b", "ä", "a:b", &"x".repeat(129)] {
        assert_eq!(
            check_role_alias(alias).unwrap_err().param(),
            Some("role_alias"),
            "{alias}"
        );
    }
    assert!(check_thing_name("device:7_a-B").is_ok());
    for name in ["", "a/b", "a\r\nb", &"x".repeat(129)] {
        assert_eq!(
            check_thing_name(name).unwrap_err().param(),
            Some("thing_name"),
            "{name}"
        );
    }
}

#[test]
fn durations_have_awss_limits() {
    for (seconds, good) in [(899, false), (900, true), (43_200, true), (43_201, false)] {
        assert_eq!(
            check_duration(Duration::from_secs(seconds)).is_ok(),
            good,
            "{seconds}"
        );
    }
    assert!(check_duration(Duration::from_millis(900_500)).is_err());
}
