//! A strict reading of a caller's JSON.
//!
//! `serde_json` alone lets the last of two equal keys win and recurses 128 levels deep. Whoever reads the same bytes
//! differently (a proxy that takes the first key, say) would then see another request than we answered, so such
//! bodies are refused. One pass, linear in the body.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The deepest nesting of objects and lists.
pub const DEPTH_MAX: usize = 64;

/// Why a body is not JSON that we take, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("the body is not UTF-8: byte {0} is wrong")]
    NotUtf8(usize),
    #[error("the body is not valid JSON: {0}")]
    Invalid(String),
}

/// Parses a whole body.
///
/// # Errors
/// Refuses what is not UTF-8, not JSON, or JSON with equal keys in one object, more than [`DEPTH_MAX`] levels, NUL
/// characters, lone surrogates, numbers beyond a double, or anything after the value; says the line and column.
pub fn parse(body: &[u8]) -> Result<Value, JsonError> {
    // Checked as a whole first: it is faster than text by text, and covers what stands outside texts.
    let text = std::str::from_utf8(body).map_err(|error| JsonError::NotUtf8(error.valid_up_to()))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Strict { depth: 0 }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| JsonError::Invalid(error.to_string()))
}

/// Reads one value that stands inside `depth` others.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth == DEPTH_MAX {
            return Err(E::custom(format_args!("nested deeper than {DEPTH_MAX} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

fn without_nul<E: de::Error>(text: &str) -> Result<(), E> {
    if text.as_bytes().contains(&0) {
        return Err(E::custom("a text with a NUL character"));
    }
    Ok(())
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        without_nul(text)?;
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(field) = fields.next_key::<String>()? {
            without_nul(&field)?;
            match map.entry(field) {
                serde_json::map::Entry::Vacant(place) => {
                    place.insert(fields.next_value_seed(inner)?);
                }
                serde_json::map::Entry::Occupied(place) => {
                    let field: String = place.key().chars().take(64).collect();
                    return Err(de::Error::custom(format_args!("duplicate key {field:?}")));
                }
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn refusal(body: impl AsRef<[u8]>) -> String {
        parse(body.as_ref()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_refused_says_what_and_where() {
        for (body, words) in [
            ("{\"a\": 1, \"a\": 2}", "duplicate key \"a\" at line 1"),
            ("[{\"b\": {\"a\": 1,\n \"a\": 2}}]", "duplicate key \"a\" at line 2"),
            ("{\"a\": 1, \"\\u0061\": 2}", "duplicate key"),
            ("{\"a\": \"x\\u0000y\"}", "NUL"),
            ("{\"x\\u0000y\": 1}", "NUL"),
            ("\"\\ud800\"", "line 1"),
            ("\"\\udc00x\"", "line 1"),
            ("1e999", "out of range"),
            ("NaN", "line 1"),
            ("{} {}", "trailing characters"),
            ("{\"a\": 1", "EOF"),
            ("", "EOF"),
            ("\u{feff}{}", "line 1"),
        ] {
            let message = refusal(body);
            assert!(message.contains(words), "{body}: {message}");
        }
        assert!(refusal(b"{\"a\": \"\xff\"}").contains("byte 7"));
    }

    #[test]
    fn nesting_ends_at_the_limit_and_never_at_the_stack() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(parse(nested(DEPTH_MAX).as_bytes()).is_ok());
        assert!(refusal(nested(DEPTH_MAX + 1)).contains("64 levels"));
        assert!(refusal(nested(100_000)).contains("64 levels"));
        assert!(refusal("{\"a\":".repeat(100_000)).contains("64 levels"));
    }

    /// Any JSON value without NUL characters, at most a few levels deep.
    pub(in crate::wire) fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::from),
            "[^\\x00]*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec(("[^\\x00]{0,8}", inner), 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_serde_writes_is_read_back(value in any_json()) {
            prop_assert_eq!(parse(value.to_string().as_bytes()), Ok(value));
        }

        #[test]
        fn any_bytes_are_an_answer_and_never_a_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let ours = parse(&body);
            if let Ok(value) = ours {
                prop_assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), value);
            }
        }

        #[test]
        fn a_doubled_key_is_refused_at_any_depth(value in any_json(), wraps in prop::collection::vec(any::<bool>(), 0..20)) {
            let mut body = format!("{{\"k\": {value}, \"j\": 0, \"k\": {value}}}");
            for is_list in wraps {
                body = if is_list { format!("[0, {body}]") } else { format!("{{\"w\": {body}}}") };
            }
            prop_assert!(refusal(&body).contains("duplicate key"));
        }
    }

    #[test]
    fn many_keys_are_read_in_one_pass() {
        let fields: Vec<_> = (0..200_000).map(|n| format!("\"k{n}\":1")).collect();
        let body = format!("{{{}}}", fields.join(","));
        assert_eq!(parse(body.as_bytes()).unwrap().as_object().unwrap().len(), 200_000);
        assert_eq!(parse(b"{\"a\":[1]}").unwrap(), json!({"a": [1]}));
    }
}
