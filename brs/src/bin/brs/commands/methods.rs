//! `brs methods`: what there is to obtain credentials by.

use brs::RefreshableSession;
use serde_json::{Value, json};

use crate::args::Methods;
use crate::exit::{Done, Failure};
use crate::output;

pub(super) fn run(args: &Methods) -> Result<Done, Failure> {
    let methods = RefreshableSession::available_methods().map_err(Failure::of_opening)?;
    let text = if args.schema {
        let described: Vec<Value> = methods
            .iter()
            .map(|method| {
                json!({ "name": method.name(), "summary": method.summary(), "schema": method.schema() })
            })
            .collect();
        output::json(&Value::Array(described))
    } else {
        let width = methods.iter().map(|method| method.name().len()).max();
        let width = width.unwrap_or(0);
        methods
            .iter()
            .map(|method| format!("{:width$}  {}\n", method.name(), method.summary()))
            .collect()
    };
    output::print(&text)?;
    Ok(Done::Success)
}
