//! Where we are in a caller's body, so that an error can name the field; and the few types a field can have.

use std::fmt;

use serde_json::{Map, Value};

use super::WireError;

/// The longest name of a model or a task, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// The way to a field. Lives on the stack and is only spelled out when something is wrong.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    Body,
    Field(&'a Self, &'a str),
    Item(&'a Self, usize),
}

impl<'a> Path<'a> {
    pub(super) const fn field(&'a self, name: &'a str) -> Self {
        Self::Field(self, name)
    }

    pub(super) const fn item(&'a self, index: usize) -> Self {
        Self::Item(self, index)
    }

    /// Returns the error that this field has; `reason` goes on after its name: "must be …", "is missing".
    pub(super) fn error(&self, reason: impl Into<String>) -> WireError {
        WireError::Field { field: self.to_string(), reason: reason.into() }
    }

    fn wrong_type(&self, expected: &str, value: &Value) -> WireError {
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        self.error(format!("must be {expected}, not {found}"))
    }

    pub(super) fn text(&self, value: Value) -> Result<String, WireError> {
        match value {
            Value::String(text) => Ok(text),
            other => Err(self.wrong_type("a string", &other)),
        }
    }

    /// Reads a text that goes on into headers, labels and messages: short, and without control characters.
    pub(super) fn name(&self, value: Value) -> Result<String, WireError> {
        let name = self.text(value)?;
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(
                self.error(format!("must have 1 to {NAME_BYTES_MAX} bytes and no control characters"))
            );
        }
        Ok(name)
    }

    pub(super) fn bool(&self, value: Value) -> Result<bool, WireError> {
        value.as_bool().ok_or_else(|| self.wrong_type("a boolean", &value))
    }

    pub(super) fn f64(&self, value: Value) -> Result<f64, WireError> {
        value.as_f64().ok_or_else(|| self.wrong_type("a number", &value))
    }

    pub(super) fn i64(&self, value: Value) -> Result<i64, WireError> {
        value.as_i64().ok_or_else(|| self.error("must be a whole number of at most 63 bits"))
    }

    pub(super) fn u64(&self, value: Value) -> Result<u64, WireError> {
        value.as_u64().ok_or_else(|| self.error("must be a whole number, not negative"))
    }

    /// Reads a whole number from 1 to `max`.
    pub(super) fn count(&self, value: Value, max: u32) -> Result<u32, WireError> {
        let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
        count
            .filter(|count| (1..=max).contains(count))
            .ok_or_else(|| self.error(format!("must be a whole number from 1 to {max}")))
    }

    pub(super) fn list(&self, value: Value) -> Result<Vec<Value>, WireError> {
        match value {
            Value::Array(items) => Ok(items),
            other => Err(self.wrong_type("a list", &other)),
        }
    }

    pub(super) fn object(&self, value: Value) -> Result<Map<String, Value>, WireError> {
        match value {
            Value::Object(fields) => Ok(fields),
            other => Err(self.wrong_type("an object", &other)),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => f.write_str("body"),
            Self::Field(Self::Body, name) => f.write_str(name),
            Self::Field(outer, name) => write!(f, "{outer}.{name}"),
            Self::Item(outer, index) => write!(f, "{outer}[{index}]"),
        }
    }
}
