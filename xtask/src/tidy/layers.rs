//! The layers within the crates: which module may use which.
//!
//! A file may name, by `crate::…`, its own layer and those below it. `lib.rs` names all. Documents
//! may link anywhere, and tests may use the helpers of `test_util`. The dependencies between crates
//! are `deps`'s.

use super::Finding;

/// The layers of each crate, from the top; those in one row do not use each other.
const LAYERS: [(&str, &[&[&str]]); 6] = [
    (
        "brs-core",
        &[
            &["test_util"],
            &["pool"],
            &["session"],
            &["sdk"],
            &["base"],
            &["refresh"],
            &["method"],
            &["credentials", "command"],
            &["kit"],
        ],
    ),
    (
        "brs-sts",
        &[
            &["methods"],
            &["profiles", "proof"],
            &["sts"],
            &["environment"],
            &["request"],
            &["mfa"],
            &["clock", "data"],
        ],
    ),
    (
        "brs-iot",
        &[
            &["strategy"],
            &["params"],
            &["endpoint"],
            &["pkcs11"],
            &["device"],
        ],
    ),
    (
        "brs-roles-anywhere",
        &[&["strategy"], &["params"], &["service"], &["request"]],
    ),
    (
        "brs-mqtt",
        &[
            &["open"],
            &["driver"],
            &["wire"],
            &["api"],
            &["transport"],
            &["error"],
        ],
    ),
    (
        "brs-shared",
        &[
            &["method"],
            &["host", "fleet"],
            &["shared"],
            &["entry"],
            &["key"],
        ],
    ),
];

/// Arrows upwards that stay: a strategy may stand on a session.
const KNOTS: [(&str, &str, &str); 1] = [("brs-core", "method", "base")];

/// What only tests use, from anywhere.
const FOR_TESTS: &str = "test_util";

/// Checks one file; `path` is relative to the root, with `/`.
pub(super) fn check(path: &str, content: &str) -> Vec<Finding> {
    let Some((name, rest)) = path.split_once("/src/") else {
        return Vec::new();
    };
    let Some((_, layers)) = LAYERS.iter().find(|(known, _)| *known == name) else {
        return Vec::new();
    };
    let module = rest.split(['/', '.']).next().unwrap_or_default();
    if module == "lib" || !path.ends_with(".rs") {
        return Vec::new();
    }
    let place = |module: &str| layers.iter().position(|row| row.contains(&module));
    let Some(own) = place(module) else {
        let message = format!(
            "`{module}` is no layer of `{name}`: see the table in `{}`",
            file!()
        );
        return vec![Finding::new(path, 0, message)];
    };
    let mut findings = Vec::new();
    for (line, number) in content.lines().zip(1..) {
        for used in used(line) {
            let is_below = place(used).is_some_and(|at| at > own);
            let is_fine = is_below || used == module || used == FOR_TESTS;
            // What is no module is an item that `lib.rs` hands on, which is above all.
            if !is_fine && !KNOTS.contains(&(name, module, used)) {
                let message = format!("`{module}` must not use `{used}`: it is not below it");
                findings.push(Finding::new(path, number, message));
            }
        }
    }
    findings
}

/// What a line of code names right behind `crate::`.
fn used(line: &str) -> impl Iterator<Item = &str> {
    let code = if line.trim_start().starts_with("//") {
        ""
    } else {
        line
    };
    code.split("crate::")
        .skip(1)
        .zip(code.split("crate::"))
        .filter_map(|(after, before)| {
            let is_macro = before.ends_with('$');
            let name = after
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()?;
            (!is_macro && !name.is_empty()).then_some(name)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, content: &str) -> Vec<usize> {
        let findings = check(path, content);
        findings.into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_layer_uses_those_below_it() {
        let path = "brs-core/src/refresh/state.rs";
        assert_eq!(lines(path, "use crate::kit::error::Error;\n"), [0; 0]);
        assert_eq!(lines(path, "\nuse crate::sdk::Watch;\n"), [2]);
        assert_eq!(
            lines(path, "let x: crate::kit::A = crate::session::b();"),
            [1]
        );
        assert_eq!(
            lines(
                path,
                "/// See [`crate::session`].\nuse crate::test_util::x;"
            ),
            [0; 0]
        );
        assert_eq!(
            lines("brs-core/src/command.rs", "use crate::credentials::X;"),
            [1]
        );
        assert_eq!(lines("brs-core/src/lib.rs", "use crate::sdk::X;"), [0; 0]);
    }

    #[test]
    fn what_lib_hands_on_is_above_all() {
        assert_eq!(
            lines("brs-mqtt/src/api/events.rs", "use crate::Options;"),
            [1]
        );
        assert_eq!(
            lines("brs-core/src/session/registry.rs", "$crate::Method::new("),
            [0; 0]
        );
    }

    #[test]
    fn one_knot_stays_and_a_new_layer_is_found() {
        let knot = "use crate::base::session::BaseSession;";
        assert_eq!(lines("brs-core/src/method/strategy.rs", knot), [0; 0]);
        assert_eq!(lines("brs-core/src/attic.rs", ""), [0]);
        assert_eq!(lines("brs-custom/src/function.rs", "use crate::x;"), [0; 0]);
    }
}
