//! AssumeRoleWithSAML and AssumeRoot: who is let in, for how long, and the words of each refusal.

use super::*;
use aws_sdk_sts::operation::assume_role_with_saml::builders::AssumeRoleWithSAMLFluentBuilder;
use aws_sdk_sts::operation::assume_root::builders::AssumeRootFluentBuilder;
use aws_sdk_sts::types::PolicyDescriptorType;

const PROVIDER: &str = "arn:aws:iam::123456789012:saml-provider/idp";
const MEMBER: &str = "210987654321";
const TASK: &str = "arn:aws:iam::aws:policy/root-task/S3UnlockBucketPolicy";

fn started() -> (TestClock, EmbeddedAws) {
    let clock = TestClock::at_present();
    let aws = EmbeddedAws::builder().clock(clock.reader()).start();
    aws.add_saml_provider(PROVIDER);
    aws.add_member_account(MEMBER);
    (clock, aws)
}

fn saml(aws: &EmbeddedAws, assertion: &str) -> AssumeRoleWithSAMLFluentBuilder {
    let call = client(aws, aws.credentials()).assume_role_with_saml();
    call.role_arn(ROLE)
        .principal_arn(PROVIDER)
        .saml_assertion(assertion)
}

fn root(aws: &EmbeddedAws, target: &str, task: &str) -> AssumeRootFluentBuilder {
    let call = client(aws, aws.credentials()).assume_root();
    call.target_principal(target)
        .task_policy_arn(PolicyDescriptorType::builder().arn(task).build())
}

#[tokio::test]
async fn an_assertion_opens_its_role_without_a_signature() {
    let (clock, aws) = started();
    let assertion = aws.issue_saml_assertion(ROLE, PROVIDER, "ann");
    let output = saml(&aws, &assertion).send().await.unwrap();
    assert_eq!(output.subject(), Some("ann"));
    assert_eq!(
        output.audience(),
        Some("https://signin.aws.amazon.com/saml")
    );
    let arn = output.assumed_role_user().unwrap().arn().to_owned();
    assert_eq!(arn, "arn:aws:sts::123456789012:assumed-role/demo/ann");
    assert_eq!(lifetime(&clock, output.credentials()), 3600);
    let identity = identify(&aws, keys(output.credentials())).await.unwrap();
    assert_eq!(identity.arn(), Some(arn.as_str()));
    let request = &aws.requests()[0];
    assert_eq!(request.access_key_id, None);
    assert_eq!(request.parameters["SAMLAssertion"], "(redacted)");
    assert!(!format!("{:?}", aws.requests()).contains(&assertion));
}

#[tokio::test]
async fn each_refusal_of_an_assertion_has_its_words() {
    let (clock, aws) = started();
    let other_provider = "arn:aws:iam::123456789012:saml-provider/other";
    let other_role = "arn:aws:iam::123456789012:role/other";
    let good = aws.issue_saml_assertion(ROLE, PROVIDER, "ann");
    let of_other = aws.issue_saml_assertion(ROLE, other_provider, "ann");
    let for_other = aws.issue_saml_assertion(other_role, PROVIDER, "ann");
    for (call, words) in [
        (
            saml(&aws, "<xml/>"),
            "Invalid base64 SAMLResponse (Service: AWSOpenIdDiscoveryService; Status Code: 400; Error Code: \
             AuthSamlInvalidSamlResponseException; Request ID: ",
        ),
        (saml(&aws, "PHhtbC8+"), "Response signature invalid"),
        (
            saml(&aws, &good).principal_arn(other_provider),
            "Specified provider doesn't exist (Service: AWSOpenIdDiscoveryService; Status Code: 400; Error Code: \
             AuthSamlManifestNotFoundException; Request ID: ",
        ),
        (
            saml(&aws, &of_other),
            "Issuer not present in specified provider (Service: AWSOpenIdDiscoveryService; Status Code: 400; Error \
             Code: AuthSamlInvalidSamlResponseException; Request ID: ",
        ),
        (
            saml(&aws, &for_other),
            "SAML Assertion doesn't contain the requested Role and Metadata in the attributes",
        ),
    ] {
        let (status, code, message) = refusal(call.send().await);
        assert_eq!((status, code.as_str()), (400, "InvalidIdentityToken"));
        assert!(message.starts_with(words), "{message}");
    }
    aws.deny_role(other_role);
    let expected = "Not authorized to perform sts:AssumeRoleWithSAML".to_owned();
    assert_eq!(
        refusal(saml(&aws, &for_other).role_arn(other_role).send().await),
        (403, "AccessDenied".to_owned(), expected)
    );
    for call in [
        saml(&aws, "abc"),
        saml(&aws, &"a".repeat(100_001)),
        saml(&aws, &good).principal_arn("short"),
        saml(&aws, &good).duration_seconds(899),
        saml(&aws, &good).duration_seconds(43_201),
    ] {
        assert_eq!(refusal(call.send().await).1, "ValidationError");
    }
    clock.advance(300);
    saml(&aws, &good).send().await.unwrap();
    clock.advance(1);
    let message = "Token must be redeemed within 5 minutes of issuance".to_owned();
    assert_eq!(
        refusal(saml(&aws, &good).send().await),
        (400, "ExpiredTokenException".to_owned(), message)
    );
}

#[tokio::test]
async fn a_task_in_a_member_account_lasts_fifteen_minutes_at_most() {
    let (clock, aws) = started();
    let member = format!("arn:aws:iam::{MEMBER}:root");
    for (call, seconds) in [
        (root(&aws, MEMBER, TASK), 900),
        (root(&aws, &member, TASK).duration_seconds(60), 60),
    ] {
        let output = call.send().await.unwrap();
        assert_eq!(lifetime(&clock, output.credentials()), seconds);
        let identity = identify(&aws, keys(output.credentials())).await.unwrap();
        assert_eq!(identity.account(), Some(MEMBER));
    }
    for call in [
        root(&aws, MEMBER, TASK).duration_seconds(901),
        root(&aws, "12345", TASK),
        root(&aws, "arn:aws:iam::210987654321:user/a", TASK),
        root(&aws, MEMBER, "arn:aws:iam::aws:policy/ReadOnlyAccess"),
    ] {
        assert_eq!(refusal(call.send().await).1, "ValidationError");
    }
    let message = "User: arn:aws:iam::123456789012:user/brs is not authorized to perform: sts:AssumeRoot on resource: \
                   arn:aws:iam::999999999999:root";
    assert_eq!(
        refusal(root(&aws, "999999999999", TASK).send().await),
        (403, "AccessDenied".to_owned(), message.to_owned())
    );
}
