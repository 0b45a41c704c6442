//! The command `brs` with the SDKs of other languages: their real programs, against the embedded
//! AWS, which tells whose key signed each call.
//!
//! `matrix` is each client by each way (`credential_process`, `exec`, `serve`) through expirations,
//! `trap` what `exec` keeps a program from: other identities at hand. `world` is a user's home with
//! an AWS, `bait` what lies there beside the session. Tests of clients that only `cargo xtask test
//! --conformance` installs have `conformance` in their names, those that need Node.js `javascript`.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

/// One client's tests: those that are given, of a module.
macro_rules! for_client {
    ($name:ident, $client:ident, $needs:literal, $module:ident, $($test:ident),*) => {
        mod $name {
            $(#[test]
            #[ignore = $needs]
            fn $test() {
                crate::$module::$test(brs_tests::clients::Client::$client);
            })*
        }
    };
}

/// Those of every client.
macro_rules! for_each_client {
    ($module:ident: $($test:ident),*) => {
        for_client!(boto3, Boto3, "needs boto3", $module, $($test),*);
        for_client!(aws_cli, AwsCli, "needs the AWS CLI", $module, $($test),*);
        for_client!(rust, Rust, "needs the command brs", $module, $($test),*);
        for_client!(javascript, JavaScript, "needs Node.js", $module, $($test),*);
        mod conformance {
            for_client!(javascript_v2, JavaScriptV2, "needs Node.js", $module, $($test),*);
            for_client!(aws_cli_v2, AwsCliV2, "needs the AWS CLI v2", $module, $($test),*);
            for_client!(cpp, Cpp, "needs pyarrow", $module, $($test),*);
            for_client!(crt, Crt, "needs awscrt", $module, $($test),*);
            for_client!(go, Go, "needs rclone", $module, $($test),*);
            for_client!(go_v1, GoV1, "needs s5cmd", $module, $($test),*);
        }
    };
}

mod bait;
mod matrix;
mod trap;
mod world;
