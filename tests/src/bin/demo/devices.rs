//! The demo's devices: certificates from an authority of the demo's own, a key in memory and one in
//! a token.
//!
//! Their endpoint is an embedded credentials provider of AWS IoT, over mutual TLS, or an embedded IAM
//! Roles Anywhere, whose requests the certificate's key signs; the credentials
//! are the embedded AWS's. A new token is made in SoftHSM2's store, which `cargo xtask demo`
//! puts below the target directory.

use std::env;
use std::path::Path;

use brs::iot::{DeviceParams, Params, Pkcs11};
use brs::{Error, RefreshableSession};
use brs_tests::embedded_iot::{EmbeddedIot, KeyKind};
use brs_tests::token::{Kind, Module, PIN};
use brs_tests::{EmbeddedAnywhere, EmbeddedAws};

const ALIAS: &str = "demo";
const TOKEN: &str = "brs-demo";
const KEY: &str = "device";

/// The endpoint of the devices, and that of servers with certificates of the same authority.
#[derive(Debug)]
pub(crate) struct Devices {
    iot: EmbeddedIot,
    anywhere: EmbeddedAnywhere,
    role_arn: String,
}

impl Devices {
    pub(crate) fn new(aws: &EmbeddedAws, role_arn: &str) -> Self {
        let iot = EmbeddedIot::start(aws);
        iot.add_role_alias(ALIAS, role_arn, None);
        let anywhere = EmbeddedAnywhere::start(aws, &iot);
        anywhere.add_role(role_arn);
        Self {
            iot,
            anywhere,
            role_arn: role_arn.to_owned(),
        }
    }

    /// A device whose key is in memory.
    pub(crate) fn in_memory(&self) -> DeviceParams {
        let device = self.iot.add_device("lamp", KeyKind::EcP256);
        DeviceParams::new()
            .certificate(device.certificate_pem.as_str())
            .private_key(device.private_key_pem.as_str())
    }

    /// A device whose key was made in a token, and cannot leave it.
    pub(crate) fn in_token(&self) -> Result<DeviceParams, Error> {
        let (Some(module), Some(_)) = (
            env::var_os("BRS_SOFTHSM2_MODULE"),
            env::var_os("SOFTHSM2_CONF"),
        ) else {
            return Err(Error::configuration(
                "SoftHSM2 is not set up: start this as `cargo xtask demo --pkcs11`, or set BRS_SOFTHSM2_MODULE to the \
                 module's path and SOFTHSM2_CONF to settings with a store of its own",
            ));
        };
        let module = Module::load(Path::new(&module));
        let certificate = self
            .iot
            .certify("gateway", &module.token(TOKEN).key(Kind::P256, KEY, &[1]));
        let key = Pkcs11::new(&module.path)
            .token_label(TOKEN)
            .key_label(KEY)
            .pin(PIN);
        Ok(DeviceParams::new().certificate(certificate).pkcs11(key))
    }

    pub(crate) async fn session(
        &self,
        aws: &EmbeddedAws,
        device: DeviceParams,
    ) -> Result<RefreshableSession, Error> {
        let params = Params::new(self.iot.endpoint(), ALIAS)
            .device(device)
            .trust_store(self.iot.trust_store());
        RefreshableSession::builder("iot", params.allow_any_endpoint(true))
            .region("us-east-1")
            .endpoint_url(aws.endpoint_url())
            .defer_refresh(false)
            .build()
            .await
    }

    /// A server outside of AWS, by IAM Roles Anywhere.
    pub(crate) async fn server_session(
        &self,
        aws: &EmbeddedAws,
    ) -> Result<RefreshableSession, Error> {
        let server = self.iot.add_device("backup-7", KeyKind::Rsa2048);
        let params = brs::roles_anywhere::Params::new(
            self.anywhere.trust_anchor_arn(),
            self.anywhere.profile_arn(),
            &self.role_arn,
        )
        .endpoint_url(self.anywhere.endpoint())
        .trust_store(self.iot.trust_store())
        .certificate(server.certificate_pem.as_str())
        .private_key(server.private_key_pem.as_str());
        RefreshableSession::builder("roles-anywhere", params)
            .region("us-east-1")
            .endpoint_url(aws.endpoint_url())
            .defer_refresh(false)
            .build()
            .await
    }

    /// What certifies devices and servers.
    pub(crate) fn server(&self) -> &EmbeddedIot {
        &self.iot
    }

    pub(crate) fn introduction(&self) -> String {
        format!(
            "embedded AWS IoT at https://{}, which checks devices' certificates",
            self.iot.endpoint()
        )
    }

    pub(crate) fn summary(&self) -> String {
        let (calls, handshakes) = (self.iot.calls(), self.iot.full_handshakes());
        let signed = self.anywhere.calls();
        format!(
            "devices: {calls} calls to AWS IoT over {handshakes} full TLS handshakes, {signed} calls to \
             IAM Roles Anywhere"
        )
    }

    pub(crate) fn calls(&self) -> usize {
        self.iot.calls() + self.anywhere.calls()
    }
}
