//! Which values do the variables of a template take together?
//!
//! Three sources, in the order in which one overrides the other: lists of which every combination counts, lists that go
//! side by side, and the rows of a table. What is no list is the same everywhere.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The values of all variables for one request.
pub(super) type Bindings = Map<String, Value>;

/// Variables as they are written in a list.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables {
    /// Every combination of the lists among them.
    pub crossed: BTreeMap<String, Value>,
    /// The first of each together, then the second of each.
    pub zipped: BTreeMap<String, Vec<Value>>,
    /// One of them after the other.
    pub rows: Option<Vec<Map<String, Value>>>,
}

impl Variables {
    /// Returns how many requests they make, or `None` where that is beyond any number.
    pub fn count(&self) -> Option<usize> {
        let crossed = self.crossed.values().map(|value| value.as_array().map_or(1, Vec::len));
        let zipped = self.zipped.values().map(Vec::len).next().unwrap_or(1);
        let rows = self.rows.as_ref().map_or(1, Vec::len);
        crossed.chain([zipped, rows]).try_fold(1_usize, usize::checked_mul)
    }

    /// Returns why they cannot be put together.
    pub fn objection(&self) -> Option<String> {
        let mut lengths = self.zipped.iter().map(|(name, values)| (name, values.len()));
        let (first, length) = lengths.next()?;
        let (name, other) = lengths.find(|(_, other)| *other != length)?;
        Some(format!("`zip` goes side by side: `{first}` has {length} values and `{name}` {other}"))
    }

    /// Returns every set of bindings: row by row, and in each every combination, the last variable the fastest.
    pub fn bindings(&self) -> impl Iterator<Item = Bindings> + '_ {
        let zipped_count = self.zipped.values().map(Vec::len).next().unwrap_or(1);
        let rows: Vec<Option<&Map<String, Value>>> = match &self.rows {
            Some(rows) => rows.iter().map(Some).collect(),
            None => vec![None],
        };
        rows.into_iter().flat_map(move |row| {
            (0..zipped_count).flat_map(move |at| {
                self.combinations().map(move |mut bindings| {
                    for (name, values) in &self.zipped {
                        bindings.insert(name.clone(), values[at].clone());
                    }
                    bindings
                        .extend(row.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
                    bindings
                })
            })
        })
    }

    fn combinations(&self) -> impl Iterator<Item = Bindings> + '_ {
        let all: usize = self.crossed.values().map(|value| value.as_array().map_or(1, Vec::len)).product();
        (0..all).map(move |number| {
            let mut rest = number;
            let mut bindings = Bindings::new();
            for (name, value) in self.crossed.iter().rev() {
                let value = match value.as_array() {
                    Some(values) => {
                        let value = &values[rest % values.len()];
                        rest /= values.len();
                        value
                    }
                    None => value,
                };
                bindings.insert(name.clone(), value.clone());
            }
            bindings
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(variables: &Variables, names: [&str; 2]) -> Vec<String> {
        let word = |bindings: &Bindings, name: &str| match &bindings[name] {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        variables.bindings().map(|bindings| names.map(|name| word(&bindings, name)).join(" ")).collect()
    }

    fn table(pairs: Value) -> BTreeMap<String, Value> {
        serde_json::from_value(pairs).unwrap()
    }

    #[test]
    fn lists_are_crossed_and_what_is_no_list_stays() {
        let variables = Variables {
            crossed: table(json!({"a": [1, 2], "b": ["x", "y"], "c": "c"})),
            ..Variables::default()
        };
        assert_eq!(said(&variables, ["a", "b"]), ["1 x", "1 y", "2 x", "2 y"]);
        assert_eq!(said(&variables, ["c", "a"])[3], "c 2");
        assert_eq!(variables.count(), Some(4));
    }

    #[test]
    fn zipped_lists_go_side_by_side() {
        let zipped =
            BTreeMap::from([("a".into(), vec![json!(1), json!(2)]), ("b".into(), vec![json!(3), json!(4)])]);
        let variables = Variables { zipped, ..Variables::default() };
        assert_eq!(said(&variables, ["a", "b"]), ["1 3", "2 4"]);
        let mut uneven = variables;
        uneven.zipped.insert("b".into(), vec![json!(3)]);
        assert!(uneven.objection().unwrap().contains("`a` has 2 values and `b` 1"));
    }

    #[test]
    fn rows_go_over_all_and_none_is_no_request() {
        let row = |value: Value| value.as_object().unwrap().clone();
        let rows = Some(vec![row(json!({"a": "row 1"})), row(json!({"a": "row 2"}))]);
        let variables =
            Variables { crossed: table(json!({"a": "all", "b": [1, 2]})), rows, ..Variables::default() };
        assert_eq!(said(&variables, ["a", "b"]), ["row 1 1", "row 1 2", "row 2 1", "row 2 2"]);
        let empty = Variables { rows: Some(Vec::new()), ..variables };
        assert_eq!((empty.count(), empty.bindings().count()), (Some(0), 0));
    }

    #[test]
    fn without_variables_there_is_one_request() {
        assert_eq!(Variables::default().bindings().count(), 1);
        let lists = (0..80).map(|at| (at.to_string(), json!([1, 2]))).collect();
        assert_eq!(Variables { crossed: lists, ..Variables::default() }.count(), None);
    }
}
