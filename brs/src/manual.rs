//! The manual: which method to use, what happens when, and how to run it.
//!
//! Each chapter takes about five minutes. Their examples are compiled with the crate; complete
//! programs are in the crate's folder `examples`.
//!
//! | chapter | answers |
//! |---|---|
//! | [`methods`] | which method do I want, and how do I open a session of it? |
//! | [`timing`] | what happens when: windows, waiting, failures, rejections |
//! | [`roles`] | profiles, SSO, MFA, chains of roles |
//! | [`devices`] | certificates, their rotation, keys in tokens |
//! | [`messaging`] | MQTT to AWS IoT Core |
//! | [`errors`] | what to match on, what to alert on |
//! | [`running`] | Lambda, containers, forks, memory, metrics, limits |
//! | [`scale`] | hundreds of accounts, many processes, many hosts |
//! | [`serve`] | credentials for programs in every language, by an endpoint on loopback |
//! | [`command`] | credentials for programs that are not written in Rust |
//! | [`clients`] | which SDKs and tools work with it, and what to know about each |
//! | [`defaults`] | every default and its reason |
//! | [`own_method`] | writing a method |
//! | [`from_boto3`] | coming from the Python package `boto3-refresh-session` |

// What the chapters link to.
#[cfg(doc)]
use crate::*;

macro_rules! chapters {
    ($($(#[$summary:meta])* $name:ident: $file:literal,)*) => { $(
        $(#[$summary])*
        ///
        #[cfg_attr(all(feature = "full", feature = "object_store"), doc = include_str!($file))]
        #[cfg_attr(
            not(all(feature = "full", feature = "object_store")),
            doc = "This chapter needs the features `full` and `object_store`: `cargo doc --all-features`."
        )]
        pub mod $name {}
    )* };
}

chapters! {
    /// Which method do I want?
    methods: "manual/methods.md",
    /// When what happens.
    timing: "manual/timing.md",
    /// Profiles, MFA and chains of roles.
    roles: "manual/roles.md",
    /// Devices: certificates, rotation, tokens.
    devices: "manual/devices.md",
    /// MQTT.
    messaging: "manual/messaging.md",
    /// Errors: what to match on, what to alert on.
    errors: "manual/errors.md",
    /// Running it: Lambda, containers, forks, memory, metrics, limits.
    running: "manual/running.md",
    /// Hundreds of accounts, many processes, many hosts.
    scale: "manual/scale.md",
    /// The command `brs`: programs in every language.
    command: "manual/command.md",
    /// Clients: which SDKs and tools work with the command, and how.
    clients: "manual/clients.md",
    /// The defaults, and why.
    defaults: "manual/defaults.md",
    /// Writing a method.
    own_method: "manual/own_method.md",
    /// Coming from boto3-refresh-session.
    from_boto3: "manual/from_boto3.md",
}

/// Credentials for programs in every language.
///
#[cfg_attr(
    all(feature = "full", feature = "object_store", feature = "serve"),
    doc = include_str!("manual/serve.md")
)]
#[cfg_attr(
    not(all(feature = "full", feature = "object_store", feature = "serve")),
    doc = "This chapter needs the features `full`, `object_store` and `serve`: `cargo doc --all-features`."
)]
pub mod serve {}
