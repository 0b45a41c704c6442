//! Methods that brs has but this build does not: an unknown name is then answered with the feature
//! that brings it.

#[cfg(not(all(
    feature = "sts",
    feature = "custom",
    feature = "iot",
    feature = "shared",
    feature = "roles-anywhere"
)))]
use brs_core::__private::{AbsentMethod, inventory};

#[cfg(not(feature = "sts"))]
mod of_sts {
    use super::{AbsentMethod, inventory};

    const REMEDY: &str = "enable the feature `sts` of `brs`";

    inventory::submit! { AbsentMethod { name: "container", remedy: REMEDY } }
    inventory::submit! { AbsentMethod { name: "imds", remedy: REMEDY } }
    inventory::submit! { AbsentMethod { name: "sts", remedy: REMEDY } }
    inventory::submit! { AbsentMethod { name: "sts-root", remedy: REMEDY } }
    inventory::submit! { AbsentMethod { name: "sts-saml", remedy: REMEDY } }
    inventory::submit! { AbsentMethod { name: "sts-session-token", remedy: REMEDY } }
    inventory::submit! { AbsentMethod { name: "sts-web-identity", remedy: REMEDY } }
}

#[cfg(not(feature = "custom"))]
inventory::submit! { AbsentMethod { name: "custom", remedy: "enable the feature `custom` of `brs`" } }

#[cfg(not(feature = "shared"))]
inventory::submit! { AbsentMethod { name: "shared", remedy: "enable the feature `shared` of `brs`" } }

#[cfg(not(feature = "iot"))]
inventory::submit! { AbsentMethod { name: "iot", remedy: "enable the feature `iot` of `brs`" } }

#[cfg(not(feature = "roles-anywhere"))]
inventory::submit! {
    AbsentMethod {
        name: "roles-anywhere",
        remedy: "enable the feature `roles-anywhere` of `brs`",
    }
}
