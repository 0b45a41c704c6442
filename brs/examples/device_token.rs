//! A device whose private key never leaves a PKCS#11 token: a TPM, a smart card, an HSM.
//!
//! The key is named by an RFC 7512 URI. The certificate is read from a file if `CERTIFICATE` is
//! set, and found on the token otherwise.
//!
//! For real AWS, set `PKCS11_URI`, for example
//! `pkcs11:token=device;object=key?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/etc/pin`,
//! `IOT_ENDPOINT`, `ROLE_ALIAS` and `AWS_REGION` as for the example `device_files`, and leave
//! `TRUST_STORE` unset. Keep the PIN in a file that only the program can read, or give
//! `Pkcs11::pin` a `SecretSource`: a file, a variable, a function.

use std::env;

use brs::RefreshableSession;
use brs::iot::{self, Pkcs11};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = Pkcs11::from_uri(&env::var("PKCS11_URI")?)?;
    let mut params =
        iot::Params::new(env::var("IOT_ENDPOINT")?, env::var("ROLE_ALIAS")?).pkcs11(key);
    if let Ok(certificate) = env::var("CERTIFICATE") {
        params = params.certificate(certificate);
    }
    if let Ok(trust_store) = env::var("TRUST_STORE") {
        // Only for an endpoint that is not AWS's own, such as that of a test.
        params = params.trust_store(trust_store).allow_any_endpoint(true);
    }
    let session = RefreshableSession::with(params)
        .region(env::var("AWS_REGION")?)
        .await?;

    let credentials = session.credentials().await?;
    println!("credentials {}", credentials.access_key_id());
    for (name, value) in session.whoami().await?.details {
        println!("{name}: {value}");
    }
    Ok(())
}
