//! Other identities at hand: what makes SDKs sign with another key than the one they are to have.

use std::process::Command;

use brs_tests::machine_metadata::MachineMetadata;

use crate::world::{REGION, World};

/// Where another identity lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bait {
    /// Keys of `[default]` in the credentials file.
    DefaultKeys,
    /// Keys of `[default]` in the config file.
    DefaultInConfig,
    /// `AWS_PROFILE` names a profile with keys.
    ProfileKeys,
    /// `AWS_PROFILE` names a profile with a command.
    ProfileProcess,
    /// Keys in the environment.
    EnvironmentKeys,
    /// A role and the file of a token in the environment.
    WebIdentity,
    /// The metadata service of an instance.
    Metadata,
}

impl Bait {
    pub(crate) const ALL: [Self; 7] = [
        Self::DefaultKeys,
        Self::DefaultInConfig,
        Self::ProfileKeys,
        Self::ProfileProcess,
        Self::EnvironmentKeys,
        Self::WebIdentity,
        Self::Metadata,
    ];
}

/// What the other identities are behind.
pub(crate) struct Baits {
    metadata: MachineMetadata,
    keys: [String; 2],
}

impl Baits {
    pub(crate) fn new(world: &World) -> Self {
        let other = world.aws.add_user("other");
        world.aws.add_web_identity("web-identity-token", "other");
        world.write("web-identity", "web-identity-token");
        Self {
            metadata: MachineMetadata::start(&world.aws),
            keys: [other.access_key_id(), other.secret_access_key()].map(str::to_owned),
        }
    }

    /// Lays these baits, and nothing else, in the home and before a program.
    pub(crate) fn lay(&self, world: &World, baits: &[Bait], command: &mut Command) {
        let [id, secret] = &self.keys;
        let keys = format!("aws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
        let mut config = format!("[default]\nregion = {REGION}\n");
        let mut credentials = String::new();
        let mut profiles = String::new();
        for bait in baits {
            match bait {
                Bait::DefaultKeys => credentials.push_str(&format!("[default]\n{keys}")),
                Bait::DefaultInConfig => config.push_str(&keys),
                Bait::ProfileKeys => {
                    credentials.push_str(&format!("[other]\n{keys}"));
                    profiles.push_str(&format!("[profile other]\nregion = {REGION}\n"));
                    command.env("AWS_PROFILE", "other");
                }
                Bait::ProfileProcess => {
                    let json = format!(
                        r#"{{"Version": 1, "AccessKeyId": "{id}", "SecretAccessKey": "{secret}"}}"#
                    );
                    let path = world.write("process.json", &json);
                    profiles.push_str(&format!(
                        "[profile process]\nregion = {REGION}\ncredential_process = cat {}\n",
                        path.display()
                    ));
                    command.env("AWS_PROFILE", "process");
                }
                Bait::EnvironmentKeys => {
                    command
                        .env("AWS_ACCESS_KEY_ID", id)
                        .env("AWS_SECRET_ACCESS_KEY", secret);
                }
                Bait::WebIdentity => {
                    command
                        .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/other")
                        .env("AWS_ROLE_SESSION_NAME", "other")
                        .env("AWS_WEB_IDENTITY_TOKEN_FILE", world.path("web-identity"));
                }
                Bait::Metadata => {
                    let url = self.metadata.url();
                    config.push_str(&format!("ec2_metadata_service_endpoint = {url}\n"));
                    command
                        .env_remove("AWS_EC2_METADATA_DISABLED")
                        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", url);
                }
            }
        }
        world.write(".aws/config", &(config + &profiles));
        world.write(".aws/credentials", &credentials);
    }

    /// What the metadata service was asked.
    pub(crate) fn asked_of_machine(&self) -> Vec<String> {
        self.metadata.asked()
    }
}
