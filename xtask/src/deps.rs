//! `cargo xtask deps`: what each feature set may build.
//!
//! Two halves: `deny.toml` holds for the whole tree and is read by cargo-deny; what a *single*
//! feature set must not pull in is the table below, checked with `cargo tree`, which knows what is
//! really built where the lock file also names what could be. The bans of `deny.toml` are applied
//! to every feature set too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use xshell::cmd;

use crate::deny;
use crate::failure::{Failure, Result};
use crate::workspace::Workspace;

/// No TLS stack, no HTTP client, no AWS service: `*` at the end stands for any rest.
const NO_NETWORK: &[&str] = &[
    "async-tungstenite",
    "aws-config",
    "aws-lc-*",
    "aws-sdk-*",
    "aws-smithy-http-client",
    "boring*",
    "hyper",
    "hyper-*",
    "reqwest",
    "rumqttc*",
    "rustls",
    "rustls-*",
    "s2n-tls*",
    "schannel",
    "security-framework*",
    "ureq",
];

/// No AWS service and nothing that loads profiles: a device has its certificate.
const NO_SDK: &[&str] = &[
    "async-tungstenite",
    "aws-config",
    "aws-sdk-*",
    "aws-sigv4",
    "aws-smithy-http-client",
    "h2",
    "rumqttc*",
];

/// What only MQTT needs.
const NO_MQTT: &[&str] = &[
    "async-tungstenite",
    "brs-mqtt",
    "mqttbytes*",
    "rumqttc*",
    "tokio-io-timeout",
    "tungstenite",
];

/// MQTT brings no service crate along.
const NO_SERVICES: &[&str] = &["aws-config", "aws-sdk-*", "aws-smithy-http-client", "h2"];

/// What one selection of packages and features must not build.
struct Rule {
    name: &'static str,
    selection: &'static [&'static str],
    forbidden: &'static [&'static str],
}

/// As [`NO_NETWORK`], but for hyper's types, which `object_store` names without an HTTP client.
const NO_CLIENT: &[&str] = &[
    "aws-config",
    "aws-lc-*",
    "aws-sdk-*",
    "aws-smithy-http-client",
    "hyper-*",
    "reqwest",
    "rustls",
    "rustls-*",
];

/// What only a fleet's store needs.
const NO_ENGINE: &[&str] = &["aws-sdk-dynamodb", "redis"];

/// Redis brings no AWS service and no HTTP client along.
const NO_AWS: &[&str] = &[
    "aws-config",
    "aws-sdk-*",
    "aws-smithy-http-client",
    "h2",
    "hyper-*",
];

/// The host cache is files: beside digest and seal no cryptography, no network.
const NO_STORE: &[&str] = &[
    "aws-config",
    "aws-sdk-*",
    "aws-smithy-http-client",
    "hyper-*",
    "redis",
    "reqwest",
    "rustls",
    "rustls-*",
];

const RULES: [Rule; 13] = [
    Rule {
        name: "brs-core",
        selection: &["--package", "brs-core", "--features", "command,test-util"],
        forbidden: NO_NETWORK,
    },
    Rule {
        name: "brs-core for object_store",
        selection: &["--package", "brs-core", "--all-features"],
        forbidden: NO_CLIENT,
    },
    Rule {
        name: "brs with custom alone",
        selection: &[
            "--package",
            "brs-aws",
            "--no-default-features",
            "--features",
            "custom",
        ],
        forbidden: NO_NETWORK,
    },
    Rule {
        name: "brs with iot alone",
        selection: &[
            "--package",
            "brs-aws",
            "--no-default-features",
            "--features",
            "iot",
        ],
        forbidden: NO_SDK,
    },
    Rule {
        name: "brs with pkcs11 alone",
        selection: &[
            "--package",
            "brs-aws",
            "--no-default-features",
            "--features",
            "pkcs11",
        ],
        forbidden: NO_SDK,
    },
    Rule {
        name: "brs with roles-anywhere alone",
        selection: &[
            "--package",
            "brs-aws",
            "--no-default-features",
            "--features",
            "roles-anywhere",
        ],
        forbidden: NO_SDK,
    },
    Rule {
        name: "brs with mqtt alone",
        selection: &[
            "--package",
            "brs-aws",
            "--no-default-features",
            "--features",
            "mqtt",
        ],
        forbidden: NO_SERVICES,
    },
    Rule {
        name: "brs with all but mqtt",
        selection: &[
            "--package",
            "brs-aws",
            "--features",
            "sts,custom,pkcs11,object_store,test-util",
        ],
        forbidden: NO_MQTT,
    },
    Rule {
        name: "brs as it comes",
        selection: &["--package", "brs-aws"],
        forbidden: NO_MQTT,
    },
    Rule {
        name: "brs with every method and no engine",
        selection: &["--package", "brs-aws", "--features", "full"],
        forbidden: NO_ENGINE,
    },
    Rule {
        name: "brs with shared alone",
        selection: &[
            "--package",
            "brs-aws",
            "--no-default-features",
            "--features",
            "shared",
        ],
        forbidden: NO_STORE,
    },
    Rule {
        name: "brs with redis alone",
        selection: &[
            "--package",
            "brs-aws",
            "--no-default-features",
            "--features",
            "redis",
        ],
        forbidden: NO_AWS,
    },
    Rule {
        name: "everything",
        selection: &["--workspace", "--all-features"],
        forbidden: &[],
    },
];

/// Checks the table, then runs cargo-deny.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let shell = workspace.shell()?;
    let bans = Bans::parse(&fs::read_to_string(workspace.root().join("deny.toml"))?)?;
    let mut findings = Vec::new();
    for rule in &RULES {
        let selection = rule.selection;
        // Platforms differ in what they build; a user on any of them gets the promise.
        let scope = [
            "--locked",
            "--edges",
            "normal,build",
            "--target",
            "all",
            "--prefix",
            "none",
        ];
        let tree = cmd!(shell, "cargo tree {scope...} {selection...}")
            .quiet()
            .read()?;
        let built = parse_tree(&tree);
        println!("{}: {} crates", rule.name, built.len());
        findings.extend(check(rule.name, &built, rule.forbidden, &bans));
    }
    for finding in &findings {
        println!("{finding}");
    }
    deny::run(workspace)?;
    if findings.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(format!("{} findings", findings.len())))
    }
}

/// The part of `deny.toml` that names crates.
#[derive(Debug, Default)]
struct Bans {
    forbidden: Vec<String>,
    /// Crates that may be there in one version only.
    single: Vec<String>,
}

impl Bans {
    fn parse(deny_toml: &str) -> Result<Self> {
        let file: toml::Table = toml::from_str(deny_toml)?;
        let entries = file
            .get("bans")
            .and_then(|bans| bans.get("deny"))
            .and_then(toml::Value::as_array);
        let mut bans = Self::default();
        for entry in entries.into_iter().flatten() {
            let name = entry.as_str().or_else(|| entry.get("crate")?.as_str());
            let name = name
                .ok_or_else(|| Failure::new("deny.toml: an entry of bans.deny has no `crate`"))?
                .to_owned();
            match entry
                .get("deny-multiple-versions")
                .and_then(toml::Value::as_bool)
            {
                Some(true) => bans.single.push(name),
                _ => bans.forbidden.push(name),
            }
        }
        Ok(bans)
    }
}

/// Crate names with their versions, from the lines `NAME vVERSION …` of `cargo tree --prefix none`.
fn parse_tree(tree: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut built = BTreeMap::<_, BTreeSet<_>>::new();
    for line in tree.lines() {
        if let Some((name, rest)) = line.split_once(" v") {
            built
                .entry(name)
                .or_default()
                .insert(rest.split(' ').next().unwrap_or(rest));
        }
    }
    built
}

fn check(
    rule: &str,
    built: &BTreeMap<&str, BTreeSet<&str>>,
    forbidden: &[&str],
    bans: &Bans,
) -> Vec<String> {
    let mut findings = Vec::new();
    let patterns: Vec<&str> = forbidden
        .iter()
        .copied()
        .chain(bans.forbidden.iter().map(String::as_str))
        .collect();
    for name in built.keys() {
        if patterns.iter().any(|pattern| matches(pattern, name)) {
            findings.push(format!(
                "{rule}: builds {name}; `cargo tree -i {name}` tells why"
            ));
        }
    }
    for name in &bans.single {
        if let Some(versions) = built
            .get(name.as_str())
            .filter(|versions| versions.len() > 1)
        {
            let versions = versions.iter().copied().collect::<Vec<_>>().join(" and ");
            findings.push(format!("{rule}: builds {name} {versions}; one must go"));
        }
    }
    findings
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENY: &str = r#"
        [bans]
        deny = [{ crate = "ring", reason = "no" }, "openssl", { crate = "hyper", deny-multiple-versions = true }]
    "#;
    const TREE: &str = "brs v0.1.0 (/src/brs)\nhyper v1.12.0\nhyper v0.14.1 (*)\nring v0.17.14\naws-sdk-sts v1.0.0\n\n";

    #[test]
    fn bans_and_patterns_are_found() {
        let bans = Bans::parse(DENY).unwrap();
        let findings = check("x", &parse_tree(TREE), &["aws-sdk-*"], &bans);
        assert_eq!(findings.len(), 3, "{findings:?}");
        assert!(
            findings[0].starts_with("x: builds aws-sdk-sts;"),
            "{findings:?}"
        );
        assert!(findings[1].starts_with("x: builds ring;"), "{findings:?}");
        assert!(
            findings[2].starts_with("x: builds hyper 0.14.1 and 1.12.0;"),
            "{findings:?}"
        );
    }

    #[test]
    fn a_crate_named_twice_in_one_version_is_one_crate() {
        let bans = Bans::parse(DENY).unwrap();
        assert_eq!(
            check(
                "x",
                &parse_tree("hyper v1.0.0\nhyper v1.0.0 (*)\n"),
                &[],
                &bans
            ),
            [""; 0]
        );
    }

    #[test]
    fn a_pattern_without_a_star_is_the_whole_name() {
        assert!(matches("hyper", "hyper") && !matches("hyper", "hyper-util"));
        assert!(matches("hyper-*", "hyper-util") && !matches("hyper-*", "hyper"));
    }

    #[test]
    fn a_ban_without_a_crate_is_an_error() {
        assert!(Bans::parse("[bans]\ndeny = [{ name = \"ring\" }]").is_err());
    }
}
