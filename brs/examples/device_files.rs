//! A device whose certificate and private key are files.
//!
//! The credentials provider of AWS IoT exchanges the device's certificate for temporary credentials
//! of a role. Replace both files to rotate the certificate: the next refresh uses the new pair.
//!
//! For real AWS, set `IOT_ENDPOINT` to what `aws iot describe-endpoint --endpoint-type
//! iot:CredentialProvider` prints, `ROLE_ALIAS` to a role alias of that account, `THING_NAME` to a
//! thing that the certificate is attached to, `CERTIFICATE` and `PRIVATE_KEY` to paths, and
//! `AWS_REGION`. Leave `TRUST_STORE` unset: AWS's endpoints are trusted by the system's authorities.

use std::env;

use brs::{Event, RefreshableSession, iot};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut params = iot::Params::new(env::var("IOT_ENDPOINT")?, env::var("ROLE_ALIAS")?)
        .thing_name(env::var("THING_NAME")?)
        .certificate(env::var("CERTIFICATE")?)
        .private_key(env::var("PRIVATE_KEY")?);
    if let Ok(trust_store) = env::var("TRUST_STORE") {
        // Only for an endpoint that is not AWS's own, such as that of a test.
        params = params.trust_store(trust_store).allow_any_endpoint(true);
    }
    let session = RefreshableSession::with(params)
        .region(env::var("AWS_REGION")?)
        .await?;

    // A certificate that expires within 30 days is reported at each refresh.
    let mut events = session.events();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Event::Warning { name, message, .. } = event {
                eprintln!("{name}: {message}");
            }
        }
    });

    let s3 = session.client(aws_sdk_s3::Client::new);
    let buckets = s3.list_buckets().send().await?;
    println!("{} buckets", buckets.buckets().len());
    println!("thing {}", env::var("THING_NAME")?);
    Ok(())
}
