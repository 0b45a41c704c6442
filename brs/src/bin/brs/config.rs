//! The configuration file: which one it is, who may write it, and what it says.
//!
//! The whole file is checked when it is read, so that a mistake shows whichever session is asked
//! for: names, methods, bases and their circles, and `[serve]`. The parameters of a session are
//! checked when it is opened. Errors name the file, the line and the key, and no value.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

use brs::{Error, Params, RefreshableSession};
use serde_json::Value;

use crate::exit::Failure;

mod document;
mod place;
pub(crate) mod serve;

use document::Document;
use serve::Serve;

/// The longest name of a session or consumer.
const MAX_NAME: usize = 64;

/// What the configuration file says.
#[derive(Debug, Default)]
pub(crate) struct Config {
    document: Document,
    sessions: BTreeMap<String, SessionData>,
    /// `[serve]`; `None`: the file has none.
    pub(crate) serve: Option<Serve>,
    /// Where a file was looked for; only if there is none.
    searched: Vec<PathBuf>,
}

/// A session of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SessionData {
    pub(crate) method: String,
    pub(crate) base: Option<String>,
    /// What `RefreshableSession::from_method` gets.
    pub(crate) data: Data,
}

/// Data that may hold secrets: not shown, and wiped when it is dropped.
#[derive(Clone, PartialEq)]
pub(crate) struct Data(pub(crate) Value);

impl Config {
    /// Reads the configuration: the file that is named, or the first that exists. Without any it is
    /// empty.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] with file, line and key.
    pub(crate) fn find(explicit: Option<&Path>) -> Result<Self, Failure> {
        match place::find(
            explicit,
            |name| std::env::var_os(name),
            std::env::home_dir(),
        ) {
            Ok(path) => Self::read(&path),
            Err(searched) => Ok(Self {
                searched,
                ..Self::default()
            }),
        }
    }

    /// Reads this file.
    fn read(path: &Path) -> Result<Self, Failure> {
        let text = place::read(path)?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Failure> {
        let (document, mut data) = Document::parse(path, text)?;
        let value = &mut data.0;
        let mut take = |name: &str| value.as_object_mut().and_then(|map| map.remove(name));
        let (sessions, serve) = (take("sessions"), take("serve"));
        if let Some(unknown) = value.as_object().and_then(|map| map.keys().next()) {
            let problem = "is not a table of this file: expected `sessions` or `serve`";
            return Err(document.wrong(unknown, problem));
        }
        let mut config = Self {
            document,
            ..Self::default()
        };
        for (name, value) in config.table("sessions", sessions)? {
            let session = config.session(&name, Data(value))?;
            config.sessions.insert(name, session);
        }
        config.check_bases()?;
        if let Some(serve) = serve {
            config.serve = Some(Serve::read(serve, &config)?);
        }
        Ok(config)
    }

    /// The file, if there is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.document.path()
    }

    /// The sessions by their names.
    pub(crate) fn sessions(&self) -> &BTreeMap<String, SessionData> {
        &self.sessions
    }

    /// The session of that name.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] that names those that exist.
    pub(crate) fn named(&self, name: &str) -> Result<&SessionData, Failure> {
        if let Some(session) = self.sessions.get(name) {
            return Ok(session);
        }
        let shown = brs::kit::clean(name, &[]);
        let Some(path) = self.path() else {
            let searched: Vec<_> = self
                .searched
                .iter()
                .map(|path| format!("`{}`", path.display()))
                .collect();
            return Err(Failure::Usage(format!(
                "there is no session `{shown}`, since there is no configuration file: write {}, or name one \
                 with `--config`",
                searched.join(" or ")
            )));
        };
        let names = listed(self.sessions.keys());
        Err(Failure::Usage(format!(
            "there is no session `{shown}` in `{}`: it has {names}",
            path.display()
        )))
    }

    /// The failure of a session whose parameters are wrong, with the line of the parameter.
    pub(crate) fn wrong_session(&self, name: &str, error: &Error) -> Failure {
        let session = format!("sessions.{name}");
        let text = error.to_string();
        let Some(param) = error.param() else {
            return self.document.wrong(&session, text);
        };
        let prefix = format!("parameter `{param}`: ");
        let problem = text.strip_prefix(&prefix).unwrap_or(&text);
        // A method may take a parameter by a shorter path, too.
        let of_path = format!("{session}.{param}");
        let of_name = param
            .rsplit('.')
            .next()
            .map(|name| format!("{session}.{name}"));
        let short = of_name.filter(|name| !self.document.has(&of_path) && self.document.has(name));
        self.document.wrong(&short.unwrap_or(of_path), problem)
    }

    /// The failure of a key.
    pub(crate) fn wrong(&self, key: &str, problem: impl Display) -> Failure {
        self.document.wrong(key, problem)
    }

    fn session(&self, name: &str, data: Data) -> Result<SessionData, Failure> {
        let key = format!("sessions.{name}");
        self.check_name(&key, name)?;
        let mut data = data;
        let Some(fields) = data.0.as_object_mut() else {
            return Err(self.wrong(&key, "must be a table"));
        };
        let mut text = |field: &str| match fields.remove(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(mut other) => {
                brs::kit::zeroize_value(&mut other);
                Err(self.wrong(&format!("{key}.{field}"), "must be a text"))
            }
        };
        let (method, base) = (text("method")?, text("base")?);
        let methods = methods()?;
        let Some(method) = method else {
            let problem = format!("has no `method`: give one of {}", listed(methods));
            return Err(self.wrong(&key, problem));
        };
        if !methods.contains(&method.as_str()) {
            let problem = format!("is not a method: give one of {}", listed(methods));
            return Err(self.wrong(&format!("{key}.method"), problem));
        }
        Ok(SessionData { method, base, data })
    }

    /// Sessions and consumers have names that fit in a URL, a variable and a metric's label.
    pub(crate) fn check_name(&self, key: &str, name: &str) -> Result<(), Failure> {
        if is_name(name) {
            return Ok(());
        }
        let problem = "has a name that is not allowed: use up to 64 of a-z, 0-9, `_` and `-`, with a letter or \
                       digit first";
        Err(self.wrong(key, problem))
    }

    fn table(&self, key: &str, value: Option<Value>) -> Result<BTreeMap<String, Value>, Failure> {
        match value {
            None => Ok(BTreeMap::new()),
            Some(Value::Object(map)) => Ok(map.into_iter().collect()),
            Some(mut other) => {
                brs::kit::zeroize_value(&mut other);
                Err(self.wrong(key, "must be a table"))
            }
        }
    }

    /// Every base exists, and none leads back to where it began.
    fn check_bases(&self) -> Result<(), Failure> {
        for (name, session) in &self.sessions {
            let mut path = vec![name.as_str()];
            let mut next = session.base.as_deref();
            while let Some(base) = next {
                let last = path.last().copied().unwrap_or(name);
                let key = format!("sessions.{last}.base");
                let Some(session) = self.sessions.get(base) else {
                    let names = listed(self.sessions.keys());
                    let shown = brs::kit::clean(base, &[]);
                    return Err(self.wrong(
                        &key,
                        format!("names no session: there is no `{shown}`, only {names}"),
                    ));
                };
                if let Some(start) = path.iter().position(|known| *known == base) {
                    let circle: Vec<_> = path.iter().skip(start).copied().chain([base]).collect();
                    return Err(
                        self.wrong(&key, format!("closes a circle: {}", circle.join(" → ")))
                    );
                }
                path.push(base);
                next = session.base.as_deref();
            }
        }
        Ok(())
    }
}

impl Data {
    /// As the type of a table, with the path of what is wrong.
    fn take<T: serde::de::DeserializeOwned + 'static>(self) -> Result<T, Error> {
        Params::from(self.0.clone()).take()
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("** redacted **")
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        brs::kit::zeroize_value(&mut self.0);
    }
}

/// Whether a session may have this name.
pub(crate) fn is_name(name: &str) -> bool {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    let first = name.bytes().next();
    name.len() <= MAX_NAME
        && name.bytes().all(fits)
        && first.is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// The names of the methods.
fn methods() -> Result<Vec<&'static str>, Failure> {
    let methods = RefreshableSession::available_methods().map_err(Failure::of_opening)?;
    Ok(methods.iter().map(|method| method.name()).collect())
}

/// Names for a message.
fn listed<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    let names: Vec<_> = names
        .into_iter()
        .map(|name| format!("`{}`", name.as_ref()))
        .collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests;
