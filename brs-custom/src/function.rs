//! Functions of users behind one type each for async and synchronous ones, and the names they go
//! by.
//!
//! Erases argument, future, result and error types. What a function returns is converted right
//! after it has returned, on the thread it ran on.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use brs_core::{Error, TemporaryCredentials};

use crate::output::IntoCredentials;

/// Any error of a user's function.
pub(crate) type AnyError = Box<dyn StdError + Send + Sync + 'static>;

/// What one call gives.
pub(crate) type Fetched = Result<TemporaryCredentials, AnyError>;

/// An async function.
pub(crate) type AsyncFunction =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Fetched> + Send>> + Send + Sync>;

/// A synchronous function.
pub(crate) type BlockingFunction = Arc<dyn Fn() -> Fetched + Send + Sync>;

pub(crate) fn erase_async<F, R, C, E>(function: F) -> AsyncFunction
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = Result<C, E>> + Send + 'static,
    C: IntoCredentials,
    E: Into<AnyError>,
{
    Box::new(move || {
        let running = function();
        Box::pin(async move { convert(running.await) })
    })
}

pub(crate) fn erase_blocking<F, C, E>(function: F) -> BlockingFunction
where
    F: Fn() -> Result<C, E> + Send + Sync + 'static,
    C: IntoCredentials,
    E: Into<AnyError>,
{
    Arc::new(move || convert(function()))
}

fn convert<C: IntoCredentials, E: Into<AnyError>>(returned: Result<C, E>) -> Fetched {
    Ok(returned.map_err(Into::into)?.into_credentials()?)
}

/// An error of brs's own is kept as it is, any other becomes a recoverable credential error that
/// names the function.
pub(crate) fn failed(name: &str, error: AnyError) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => *own,
        Err(other) => Error::credential(format!("function `{name}` failed"))
            .retryable()
            .with_detail("function", name)
            .with_source(other),
    }
}

/// The name of a function by its type: `fetch` for `my_crate::aws::fetch::<u8>`, `closure in main`
/// for a closure.
pub(crate) fn name_of<F>() -> String {
    name_from(std::any::type_name::<F>())
}

fn name_from(type_name: &str) -> String {
    let mut path = String::with_capacity(type_name.len());
    let mut depth = 0_u32;
    for c in type_name.chars() {
        match c {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            c if depth == 0 => path.push(c),
            _ => {}
        }
    }
    let is_name =
        |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
    // The type of a function pointer is a signature, not a path.
    let name = if path.contains('(') {
        None
    } else {
        path.rsplit("::").find(is_name)
    };
    let Some(name) = name else {
        return "function".to_owned();
    };
    if path.ends_with("{{closure}}") {
        format!("closure in {name}")
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of_value<F>(_: &F) -> String {
        name_of::<F>()
    }

    fn generic<T>() {}

    #[test]
    fn names_are_those_in_the_source() {
        fn fetch() {}
        assert_eq!(name_of_value(&fetch), "fetch");
        assert_eq!(name_of_value(&generic::<Vec<Option<u8>>>), "generic");
        assert_eq!(
            name_of_value(&|| ()),
            "closure in names_are_those_in_the_source"
        );
        assert_eq!(
            name_of_value(&async || ()),
            "closure in names_are_those_in_the_source"
        );
        assert_eq!(name_of::<fn() -> u8>(), "function");
    }

    #[test]
    fn type_names_are_reduced_to_the_name() {
        for (type_name, expected) in [
            ("my_crate::aws::fetch", "fetch"),
            ("my_crate::fetch<alloc::vec::Vec<u8>>", "fetch"),
            ("<my_crate::Broker as my_crate::Ask>::ask", "ask"),
            (
                "my_crate::main::{{closure}}::{{closure}}",
                "closure in main",
            ),
            ("my_crate::Broker<u8>::ask::{{closure}}", "closure in ask"),
            ("fn(&str) -> core::result::Result<u8, u8>", "function"),
            ("", "function"),
        ] {
            assert_eq!(name_from(type_name), expected, "{type_name}");
        }
    }

    #[test]
    fn an_error_of_brs_is_kept_and_any_other_is_wrapped() {
        let own = failed(
            "fetch",
            Box::new(
                Error::request("no such role")
                    .unrecoverable()
                    .with_status(404),
            ),
        );
        assert_eq!((own.status(), own.is_unrecoverable()), (Some(404), true));
        let other = failed("fetch", "out of paper".into());
        assert_eq!(other.to_string(), "function `fetch` failed");
        assert_eq!(other.source().unwrap().to_string(), "out of paper");
        assert!(other.is_retryable() && other.kind() == brs_core::ErrorKind::Credential);
    }
}
