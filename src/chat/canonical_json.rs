//! When are two pieces of JSON the same?

use std::borrow::Cow;

use serde_json::{Number, Value};

/// Returns the canonical form of RFC 8785, in which the order of keys and the spelling of numbers do not matter. That
/// form knows no numbers but doubles, in which large integers collide, so these stand in it as text.
pub(super) fn canonical_json(value: &Value) -> Vec<u8> {
    let value = if has_large_integer(value) {
        Cow::Owned(with_large_integers_as_text(value))
    } else {
        Cow::Borrowed(value)
    };
    serde_json_canonicalizer::to_vec(&value)
        .expect("a parsed JSON value has finite numbers and text keys, so it has a canonical form")
}

/// The largest integer up to which doubles have every integer: 2^53.
const EXACT_MAX: u64 = 1 << 53;

fn is_large_integer(number: &Number) -> bool {
    let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
    magnitude.is_some_and(|magnitude| magnitude > EXACT_MAX)
}

fn has_large_integer(value: &Value) -> bool {
    match value {
        Value::Number(number) => is_large_integer(number),
        Value::Array(items) => items.iter().any(has_large_integer),
        Value::Object(fields) => fields.values().any(has_large_integer),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// Puts the digits of large integers in their place, behind a character that no text of a request has: bodies with it
/// are refused when they are parsed.
fn with_large_integers_as_text(value: &Value) -> Value {
    match value {
        Value::Number(number) if is_large_integer(number) => Value::from(format!("\0{number}")),
        Value::Array(items) => items.iter().map(with_large_integers_as_text).collect(),
        Value::Object(fields) => {
            let fields = fields.iter();
            Value::Object(
                fields.map(|(field, value)| (field.clone(), with_large_integers_as_text(value))).collect(),
            )
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
