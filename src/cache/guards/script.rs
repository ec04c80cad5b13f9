//! Both prompts are written in the same scripts, and in scripts that the embedding model knows.
//!
//! Needs no word list. A Cyrillic `а` inside a Latin word is a difference of scripts, and a full-width letter is not
//! the letter it resembles.

use std::fmt;

use unicode_script::{Script, UnicodeScript};

/// A set of scripts; marks and characters common to all scripts are never in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scripts(Vec<Script>);

impl Scripts {
    /// Returns the set of these scripts.
    pub fn new(scripts: &[Script]) -> Self {
        let mut set = Scripts::default();
        for script in scripts {
            set.insert(*script);
        }
        set
    }

    /// Returns the scripts that a text is written in.
    pub fn of(text: &str) -> Self {
        let mut set = Scripts::default();
        for c in text.chars() {
            // Most text is ASCII, and looking a script up costs a binary search.
            let script = match c {
                'a'..='z' | 'A'..='Z' => Script::Latin,
                _ if c.is_ascii() => continue,
                _ => c.script(),
            };
            set.insert(script);
        }
        set
    }

    fn insert(&mut self, script: Script) {
        let anywhere = matches!(script, Script::Common | Script::Inherited | Script::Unknown);
        if let (false, Err(at)) = (anywhere, self.position(script)) {
            self.0.insert(at, script);
        }
    }

    fn position(&self, script: Script) -> Result<usize, usize> {
        self.0.binary_search_by_key(&script.short_name(), |known| known.short_name())
    }

    /// Returns a script of this set that `known` lacks.
    fn first_outside(&self, known: &Scripts) -> Option<Script> {
        self.0.iter().find(|script| known.position(**script).is_err()).copied()
    }
}

impl fmt::Display for Scripts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no letters");
        }
        for (i, script) in self.0.iter().enumerate() {
            let and = if i > 0 { " and " } else { "" };
            write!(f, "{and}{}", script.full_name())?;
        }
        Ok(())
    }
}

/// How one prompt is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Writing {
    scripts: Scripts,
    full_width: bool,
}

impl Writing {
    pub(super) fn of(text: &str) -> Self {
        let full_width =
            |c| matches!(c, '\u{ff10}'..='\u{ff19}' | '\u{ff21}'..='\u{ff3a}' | '\u{ff41}'..='\u{ff5a}');
        Self { scripts: Scripts::of(text), full_width: !text.is_ascii() && text.contains(full_width) }
    }

    /// Returns why the two prompts may not be compared. `known` is what the model reads, `None` for every script.
    pub(super) fn differ(&self, stored: &Writing, known: Option<&Scripts>) -> Option<String> {
        if let Some(script) = known.and_then(|known| self.scripts.first_outside(known)) {
            let name = script.full_name();
            return Some(format!("the embedding model does not know the {name} script of the asked prompt"));
        }
        // Digits and signs alone are in no script, and so in no other one.
        let lettered = !self.scripts.0.is_empty() && !stored.scripts.0.is_empty();
        if lettered && self.scripts != stored.scripts {
            let (asked, stored) = (&self.scripts, &stored.scripts);
            return Some(format!("the asked prompt is written in {asked}, the stored one in {stored}"));
        }
        (self.full_width != stored.full_width)
            .then(|| "one of the prompts is written with full-width letters or digits".to_owned())
    }
}
