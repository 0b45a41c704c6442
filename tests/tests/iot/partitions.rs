//! Endpoints of every partition that the AWS SDK knows: its own list, asked through its resolver of
//! endpoints, says what names end in. A suffix that it gains or changes fails here.

use aws_sdk_sts::config::endpoint::{DefaultResolver, Params as Asked, ResolveEndpoint as _};
use brs::iot::Params;

/// A region of each partition.
const REGIONS: [(&str, &str); 8] = [
    ("aws", "eu-west-1"),
    ("aws-cn", "cn-north-1"),
    ("aws-us-gov", "us-gov-west-1"),
    ("aws-iso", "us-iso-east-1"),
    ("aws-iso-b", "us-isob-east-1"),
    ("aws-iso-e", "eu-isoe-west-1"),
    ("aws-iso-f", "us-isof-south-1"),
    ("aws-eusc", "eusc-de-east-1"),
];

/// What follows the region in the SDK's endpoint, if the partition has such endpoints.
async fn suffix(region: &str, dual_stack: bool) -> Result<String, String> {
    let asked = Asked::builder()
        .region(region)
        .use_dual_stack(dual_stack)
        .build()
        .unwrap();
    let endpoint = DefaultResolver::new()
        .resolve_endpoint(&asked)
        .await
        .map_err(|error| format!("{error:?}"))?;
    let (_, suffix) = endpoint
        .url()
        .split_once(&format!(".{region}."))
        .ok_or_else(|| endpoint.url().to_owned())?;
    Ok(suffix.to_owned())
}

#[tokio::test]
async fn names_of_every_partition_of_the_sdk_are_endpoints() {
    let mut seen = 0;
    for (partition, region) in REGIONS {
        for dual_stack in [false, true] {
            let suffix = match suffix(region, dual_stack).await {
                Ok(suffix) => suffix,
                Err(problem) if dual_stack && problem.contains("does not support DualStack") => {
                    continue;
                }
                Err(problem) => panic!("{partition}: {problem}"),
            };
            seen += 1;
            let host = format!("c2abc.credentials.iot.{region}.{suffix}");
            let params = Params::new(host.as_str(), "demo")
                .certificate("/c.pem")
                .private_key("/k.pem");
            params
                .validate()
                .unwrap_or_else(|error| panic!("{partition}: {host}: {error}"));
        }
    }
    assert!(seen > REGIONS.len(), "some have dual-stack endpoints");
}
