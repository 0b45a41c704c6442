//! The Python package `iam-rolesanywhere-session` gets sessions from the embedded service, so that
//! it is no mirror of brs's own mistakes.

use std::path::PathBuf;
use std::process::{Command, Output};

use super::*;

const SCRIPT: &str = r#"
import sys
from iam_rolesanywhere_session import IAMRolesAnywhereSession
anchor, profile, role, certificate, chain, key, endpoint, roots = sys.argv[1:]
credentials = IAMRolesAnywhereSession(
    trust_anchor_arn=anchor, profile_arn=profile, role_arn=role, certificate=certificate,
    certificate_chain=chain or None, private_key=key, region="eu-west-1", endpoint=endpoint, verify=roots,
    session_duration=900,
).get_refreshable_credentials().get_frozen_credentials()
print(credentials.access_key, bool(credentials.secret_key), bool(credentials.token))
"#;

/// Signed by the package; sent as they are, or changed on the way.
const REQUESTS: &str = r#"
import json, sys
from urllib.parse import urlencode
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session
from iam_rolesanywhere_session import IAMRolesAnywhereSigner
anchor, profile, role, certificate, chain, key, endpoint, roots = sys.argv[1:]
arns = {"trustAnchorArn": anchor, "profileArn": profile, "roleArn": role}
def signed(body, query="", region="eu-west-1"):
    signer = IAMRolesAnywhereSigner(
        certificate=certificate, certificate_chain=chain, private_key=key, region=region)
    request = AWSRequest(
        method="POST", url=f"https://{endpoint}/sessions{query}", data=json.dumps(body).encode())
    signer.add_auth(request)
    return request
def send(request):
    answer = URLLib3Session(verify=roots).send(request.prepare())
    code = answer.headers.get("x-amzn-errortype", "").split(":")[0]
    print(answer.status_code, code, json.loads(answer.text).get("message", ""))
send(signed(arns))
send(signed({"durationSeconds": 900}, "?" + urlencode(arns)))
changed = signed(arns)
changed.data = changed.data.replace(b"role/", b"role/x")
send(changed)
changed = signed(arns)
chain_header = changed.headers["X-Amz-X509-Chain"]
del changed.headers["X-Amz-X509-Chain"]
changed.headers["X-Amz-X509-Chain"] = chain_header + "," + chain_header
send(changed)
changed = signed(arns)
authorization = changed.headers["Authorization"]
del changed.headers["Authorization"]
send(changed)
changed.headers["Authorization"] = authorization.replace("Credential=", "Credential=1")
send(changed)
send(signed(arns, region="us-east-1"))
send(signed(arns | {"durationSeconds": 899}))
send(signed({"roleArn": role}))
"#;

/// What the service answers to them.
const ANSWERS: &str = "201  \n\
    201  \n\
    403 AccessDeniedException Invalid signature\n\
    403 AccessDeniedException Invalid signature\n\
    403 MissingAuthenticationTokenException Missing Authentication Token\n\
    403 AccessDeniedException Invalid signature\n\
    403 AccessDeniedException Credential should be scoped to a valid region.\n\
    400 ValidationException durationSeconds must be between 900 and 43200\n\
    400 ValidationException trustAnchorArn must not be null\n";

fn python() -> PathBuf {
    let Some(venv) = std::env::var_os("BRS_ANYWHERE_VENV") else {
        panic!("`cargo xtask test` installs iam-rolesanywhere-session and sets BRS_ANYWHERE_VENV")
    };
    PathBuf::from(venv).join("bin/python")
}

/// A service by the system's clock, which is Python's.
struct Service {
    anywhere: EmbeddedAnywhere,
    iot: EmbeddedIot,
    folder: tempfile::TempDir,
    _aws: EmbeddedAws,
}

impl Service {
    fn start() -> Self {
        let aws = EmbeddedAws::start();
        let iot = EmbeddedIot::start(&aws);
        let anywhere = EmbeddedAnywhere::start(&aws, &iot);
        anywhere.add_role(ROLE);
        Self {
            anywhere,
            iot,
            folder: tempfile::tempdir().unwrap(),
            _aws: aws,
        }
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    fn run(&self, script: &str, anchor: &str, device: &Device, chain: &str) -> Output {
        let chain = match chain {
            "" => String::new(),
            chain => self.file("chain.pem", chain),
        };
        Command::new(python())
            .args(["-c", script, anchor, self.anywhere.profile_arn(), ROLE])
            .arg(self.file("certificate.pem", device.leaf_pem()))
            .arg(chain)
            .arg(self.file("private.key", &device.private_key_pem))
            .arg(self.anywhere.endpoint())
            .arg(self.file("roots.pem", &self.iot.trust_store()))
            .env("NO_PROXY", "127.0.0.1,localhost")
            .output()
            .unwrap()
    }
}

#[test]
#[ignore = "needs iam-rolesanywhere-session"]
fn the_python_package_gets_sessions_for_every_kind_of_key_with_and_without_a_chain() {
    let service = Service::start();
    let anywhere = &service.anywhere;
    let mut calls = 0;
    for kind in [KeyKind::Rsa2048, KeyKind::EcP256, KeyKind::EcP384] {
        let device = service.iot.add_device(SERVER, kind);
        let chain = device
            .certificate_pem
            .strip_prefix(device.leaf_pem())
            .unwrap();
        let near = anywhere.add_trust_anchor(chain);
        for (anchor, chain) in [(anywhere.trust_anchor_arn(), chain), (near.as_str(), "")] {
            let output = service.run(SCRIPT, anchor, &device, chain);
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success()
                    && said.starts_with("ASIA")
                    && said.ends_with(" True True\n"),
                "{kind:?}: {output:?}"
            );
            calls += 1;
        }
        // What the service refuses, it refuses for this client, too.
        anywhere.revoke(&device);
        let output = service.run(SCRIPT, anywhere.trust_anchor_arn(), &device, chain);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && complaint.contains("(HTTP 403): Certificate revoked"),
            "{complaint}"
        );
        calls += 1;
    }
    assert_eq!(anywhere.calls(), calls);
}

#[test]
#[ignore = "needs iam-rolesanywhere-session"]
fn the_service_takes_arns_in_the_query_and_refuses_what_was_changed_on_the_way() {
    let service = Service::start();
    for kind in [KeyKind::Rsa2048, KeyKind::EcP256] {
        let device = service.iot.add_device(SERVER, kind);
        let chain = device
            .certificate_pem
            .strip_prefix(device.leaf_pem())
            .unwrap();
        let anchor = service.anywhere.trust_anchor_arn();
        let output = service.run(REQUESTS, anchor, &device, chain);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(said, ANSWERS, "{kind:?}");
    }
}
