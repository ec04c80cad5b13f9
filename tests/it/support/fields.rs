//! Which fields a vendor knows: the walk through a body that finds the first it would not take.

use serde_json::Value;

/// What a vendor would not take, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The path of the field, as the vendor spells paths.
    pub at: String,
    pub wrong: Wrong,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    Unknown,
    Missing,
    /// In the vendor's words, or words like them.
    Because(String),
}

/// Fields that a test lets through though the vendor does not know them.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    pub all: bool,
    pub named: Vec<&'static str>,
}

/// How a vendor writes the third of a list: `messages[2]` or `messages.2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Places {
    Brackets,
    Dots,
}

/// A walk through a body; it remembers the first fault.
pub struct Walk<'a> {
    allowed: &'a Allowed,
    places: Places,
    fault: Option<Fault>,
}

impl<'a> Walk<'a> {
    pub fn new(allowed: &'a Allowed, places: Places) -> Self {
        Self { allowed, places, fault: None }
    }

    /// Returns the first fault, if there was one.
    pub fn end(self) -> Option<Fault> {
        self.fault
    }

    /// Notes a fault unless this holds.
    pub fn check(&mut self, holds: bool, at: &str, why: impl Into<String>) {
        if !holds {
            self.note(at, Wrong::Because(why.into()));
        }
    }

    /// Notes what is missing in an object and what it has too much; what is no object is a fault.
    pub fn object(&mut self, value: &Value, at: &str, required: &[&str], optional: &[&str]) {
        let Some(fields) = value.as_object() else {
            return self.check(false, at, "should be an object");
        };
        for name in required.iter().filter(|name| !fields.contains_key(**name)) {
            self.note(&path(at, name), Wrong::Missing);
        }
        for name in fields.keys().map(String::as_str) {
            let is_known = required.contains(&name) || optional.contains(&name);
            if !is_known && !self.allowed.all && !self.allowed.named.contains(&name) {
                self.note(&path(at, name), Wrong::Unknown);
            }
        }
    }

    /// Visits each value of a list; anything else but a list is a fault.
    pub fn list<'v>(
        &mut self,
        value: &'v Value,
        at: &str,
        mut visit: impl FnMut(&mut Self, &'v Value, &str),
    ) {
        let Some(values) = value.as_array() else {
            return self.check(false, at, "should be an array");
        };
        for (index, value) in values.iter().enumerate() {
            let at = match self.places {
                Places::Brackets => format!("{at}[{index}]"),
                Places::Dots => format!("{at}.{index}"),
            };
            visit(self, value, &at);
        }
    }

    /// Visits a field where it is there.
    pub fn field<'v>(
        &mut self,
        object: &'v Value,
        name: &str,
        at: &str,
        visit: impl FnOnce(&mut Self, &'v Value, &str),
    ) {
        if let Some(value) = object.get(name) {
            visit(self, value, &path(at, name));
        }
    }

    fn note(&mut self, at: &str, wrong: Wrong) {
        self.fault.get_or_insert(Fault { at: at.to_owned(), wrong });
    }
}

/// Returns the path of a field; the body itself has an empty one.
pub fn path(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}
