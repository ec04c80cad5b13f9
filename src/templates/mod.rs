//! Lists of prompts that somebody wrote: how files of templates become requests. Calls nobody, and reads no file outside
//! the folder of the list.
//!
//! Four forms: TOML with templates and their variables, JSON lines with a request each, plain text with a prompt on each
//! line, and tables of variables (CSV, JSON lines) that a TOML file names. `precompute.schema.json` describes the TOML.

mod error;
mod expand;
mod list;
mod render;
mod rows;
mod variables;
mod wordings;

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

pub use error::TemplateError;

/// The most requests that one list may become.
pub const ITEMS_MAX: usize = 1_000_000;

/// One request that a list asks for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Item {
    /// The name of its template; for lists without templates the file's.
    pub template: Arc<str>,
    /// The higher, the earlier.
    pub priority: i32,
    /// Whose answer it will be; `None` for the default tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Arc<str>>,
    /// Labels that its entry will carry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// A path such as `/v1/generate`, whose form the body has.
    pub endpoint: Arc<str>,
    pub body: Map<String, Value>,
}

/// Reads a list and returns what it asks for, in its order.
///
/// # Errors
/// Names the file, the template and the line or row at fault. Nothing is returned of a list that has one mistake.
pub fn read(file: &Path) -> Result<Vec<Item>, TemplateError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| TemplateError::of(file, format!("cannot be read: {error}")))?;
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => expand::list(file, &text),
        Some("jsonl" | "ndjson") => list::requests(file, &text),
        Some("txt") => Ok(list::prompts(file, &text)),
        _ => Err(TemplateError::of(
            file,
            "is no list that is known: `.toml` holds templates, `.jsonl` a request on each line, `.txt` a prompt on each",
        )),
    }
}
