//! Fields inside a Responses request: each is known, or refused by name.

use serde_json::{Map, Value};

use super::WireError;
use super::fields::Path;

/// Returns the field, unless it is missing or `null`.
pub(super) fn given(fields: &mut Map<String, Value>, field: &str) -> Option<Value> {
    fields.remove(field).filter(|value| !value.is_null())
}

/// Reads the field, unless it is missing or `null`.
pub(super) fn take<'a, T>(
    fields: &mut Map<String, Value>,
    field: &'a str,
    at: &'a Path<'a>,
    read: impl FnOnce(&Path<'a>, Value) -> Result<T, WireError>,
) -> Result<Option<T>, WireError> {
    given(fields, field).map(|value| read(&at.field(field), value)).transpose()
}

/// Reads a text that must be there.
pub(super) fn take_text(
    fields: &mut Map<String, Value>,
    field: &str,
    at: &Path<'_>,
) -> Result<String, WireError> {
    take(fields, field, at, Path::text)?.ok_or_else(|| at.field(field).error("is missing"))
}

/// Refuses what is left over, unless it is `null` or of these names.
pub(super) fn refuse_others(
    fields: &Map<String, Value>,
    known: &[&str],
    at: &Path<'_>,
) -> Result<(), WireError> {
    let is_other = |(field, value): &(&String, &Value)| !value.is_null() && !known.contains(&field.as_str());
    match fields.iter().find(is_other) {
        None => Ok(()),
        Some((field, _)) => Err(at.field(field).error(UNKNOWN)),
    }
}

/// What is wrong with a field that only its sender understands: a key would have to tell it apart, and no upstream of
/// ours speaks this dialect and could be given it.
pub(super) const UNKNOWN: &str = "is not known here, and no provider could be told of it";
