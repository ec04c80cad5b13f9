//! What is still missing of an answer that broke off, once another one begins?
//!
//! The beginning has gone out and cannot be taken back. Of a second answer only what comes after it may follow, and only
//! where the two fit: a seam that shows is worse than an honest end. Pure; texts come in pieces, cut anywhere.

/// How the second answer was asked for, and so what it may begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To go on where the beginning stops, which was put into its mouth. Some models begin anew all the same.
    Prefill,
    /// The same question once more: it must begin with what went out, white space apart.
    Afresh,
    /// In one more turn, to go on: it may repeat the last words.
    Turn,
}

impl Way {
    /// Returns the word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::Afresh => "afresh",
            Self::Turn => "turn",
        }
    }
}

/// The two do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diverged;

/// Cuts what has gone out already off a second answer.
#[derive(Debug)]
pub struct Splice {
    way: Way,
    said: String,
    /// How much of what went out the second answer has repeated, in bytes.
    matched: usize,
    /// What came of the second answer while it was not clear what it is.
    held: String,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So far it repeats what went out.
    Matching,
    /// It does not repeat it from the start: its beginning is gathered, to look for repeated last words.
    Gathering,
    /// What comes is new. White space that would double the one that went out last is left out.
    Flowing { trims: bool },
}

/// Characters, white space apart, that repeated last words are looked for in.
const OVERLAP_MAX: usize = 200;
/// Fewer than that are no repetition but chance.
pub const OVERLAP_MIN: usize = 4;

impl Splice {
    /// Begins with what went out.
    pub fn new(way: Way, said: &str) -> Self {
        let mut splice =
            Self { way, said: said.to_owned(), matched: 0, held: String::new(), state: State::Matching };
        splice.skip_white();
        if splice.matched == splice.said.len() {
            splice.state = splice.flowing();
        }
        splice
    }

    /// Returns whether all that went out has come again or was put aside, so that what comes is new.
    pub const fn is_flowing(&self) -> bool {
        matches!(self.state, State::Flowing { .. })
    }

    /// Takes the next piece, and returns what of it is new.
    ///
    /// # Errors
    /// [`Diverged`], once it is clear that this is another answer.
    pub fn push(&mut self, piece: &str) -> Result<String, Diverged> {
        let mut rest = piece;
        if self.state == State::Matching {
            match self.match_on(piece)? {
                Some(after) => rest = after,
                None => return Ok(String::new()),
            }
        }
        if self.state == State::Gathering {
            self.held.push_str(rest);
            let gathered = self.held.chars().filter(|character| !character.is_whitespace()).count();
            let is_enough = self.way == Way::Prefill || gathered >= OVERLAP_MAX;
            return Ok(if is_enough { self.release() } else { String::new() });
        }
        Ok(self.flow(rest))
    }

    /// Takes the end of the second answer, and returns what was held back.
    ///
    /// # Errors
    /// [`Diverged`], where it ended before all that went out had come again.
    pub fn finish(&mut self) -> Result<String, Diverged> {
        match (self.state, self.way) {
            (State::Flowing { .. }, _) => Ok(String::new()),
            (State::Matching, Way::Afresh) => Err(Diverged),
            (State::Matching | State::Gathering, _) => Ok(self.release()),
        }
    }

    /// Goes on comparing. Returns what comes after the beginning, where it ends in this piece or is given up in it.
    fn match_on<'p>(&mut self, piece: &'p str) -> Result<Option<&'p str>, Diverged> {
        for (at, character) in piece.char_indices() {
            if character.is_whitespace() {
                continue;
            }
            let expected = self.said[self.matched..].chars().next();
            if expected != Some(character) {
                return self.mismatch(piece).map(Some);
            }
            self.matched += character.len_utf8();
            self.skip_white();
            if self.matched == self.said.len() {
                self.held.clear();
                self.state = self.flowing();
                return Ok(Some(&piece[at + character.len_utf8()..]));
            }
        }
        if self.way != Way::Afresh {
            self.held.push_str(piece);
        }
        Ok(None)
    }

    /// It is no repetition. Where it was asked to go on, that is well: all of it is new.
    fn mismatch<'p>(&mut self, piece: &'p str) -> Result<&'p str, Diverged> {
        match self.way {
            Way::Afresh => Err(Diverged),
            Way::Prefill | Way::Turn => {
                self.state = State::Gathering;
                Ok(piece)
            }
        }
    }

    /// Lets go of what was held back, without the last words that it repeats.
    fn release(&mut self) -> String {
        self.state = self.flowing();
        let held = std::mem::take(&mut self.held);
        let (held, repeated) = match self.way {
            Way::Turn => {
                let held = without_ellipsis(&held);
                (held, overlap(&self.said, held))
            }
            Way::Prefill | Way::Afresh => (held.as_str(), 0),
        };
        let new = held[repeated..].to_owned();
        self.flow(&new)
    }

    fn flow(&mut self, piece: &str) -> String {
        let State::Flowing { trims: true } = self.state else { return piece.to_owned() };
        let new = piece.trim_start();
        if !new.is_empty() {
            self.state = State::Flowing { trims: false };
        }
        new.to_owned()
    }

    fn flowing(&self) -> State {
        State::Flowing { trims: self.said.ends_with(char::is_whitespace) }
    }

    fn skip_white(&mut self) {
        let rest = &self.said[self.matched..];
        self.matched += rest.len() - rest.trim_start().len();
    }
}

/// Returns a text without the dots that say that it goes on.
fn without_ellipsis(text: &str) -> &str {
    let rest = text.trim_start();
    rest.strip_prefix("...").or_else(|| rest.strip_prefix('…')).unwrap_or(text)
}

/// Returns how many bytes at the beginning of `next` repeat the end of `said`, white space apart.
fn overlap(said: &str, next: &str) -> usize {
    let tail: Vec<char> =
        said.chars().rev().filter(|character| !character.is_whitespace()).take(OVERLAP_MAX).collect();
    let head: Vec<(usize, char)> = next
        .char_indices()
        .filter(|(_, character)| !character.is_whitespace())
        .take(OVERLAP_MAX)
        .map(|(at, character)| (at + character.len_utf8(), character))
        .collect();
    let repeats = |length: &usize| {
        let (head, tail) = (head[..*length].iter(), tail[..*length].iter().rev());
        head.map(|(_, character)| character).eq(tail)
    };
    let longest = (OVERLAP_MIN..=head.len().min(tail.len())).rev().find(repeats);
    longest.map_or(0, |length| head[length - 1].0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spliced(way: Way, said: &str, pieces: &[&str]) -> Result<String, Diverged> {
        let mut splice = Splice::new(way, said);
        let mut new = String::new();
        for piece in pieces {
            new.push_str(&splice.push(piece)?);
        }
        new.push_str(&splice.finish()?);
        Ok(format!("{said}{new}"))
    }

    const WHOLE: &str = "The river runs from the hills to the sea.";

    #[test]
    fn the_same_answer_once_more_goes_on_where_the_first_broke() {
        for said in ["The river ru", "The river ", "The river", "", "T", " The  river\n"] {
            let went =
                spliced(Way::Afresh, said, &["The ri", "ver runs from the hi", "lls to the sea."]).unwrap();
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(words(&went), words(WHOLE), "{said:?}");
        }
        assert_eq!(spliced(Way::Afresh, WHOLE, &[WHOLE]).as_deref(), Ok(WHOLE), "nothing is missing");
    }

    #[test]
    fn another_answer_is_noticed_at_its_first_other_letter_and_a_shorter_one_at_its_end() {
        let mut splice = Splice::new(Way::Afresh, "The river ru");
        assert_eq!(splice.push("The river"), Ok(String::new()));
        assert_eq!(splice.push(" is"), Err(Diverged));
        assert_eq!(spliced(Way::Afresh, "The river ru", &["The river"]), Err(Diverged));
        assert_eq!(spliced(Way::Afresh, "The river ru", &[]), Err(Diverged));
    }

    #[test]
    fn a_prefill_is_continued_and_one_that_begins_anew_is_cut() {
        for (said, pieces) in [
            ("The river ru", &["ns from the hills to the sea."][..]),
            ("The river ", &["runs ", "from the hills to the sea."]),
            ("The river ", &[" runs from the hills to the sea."]),
            ("The river", &[" runs from the hills to the sea."]),
            ("The river ru", &["The river", " runs from the hills to the sea."]),
            ("The river runs from ", &["The ", "hills to the sea."]),
        ] {
            let expected =
                if said.ends_with("from ") { "The river runs from The hills to the sea." } else { WHOLE };
            assert_eq!(spliced(Way::Prefill, said, pieces).as_deref(), Ok(expected), "{said:?} {pieces:?}");
        }
    }

    #[test]
    fn a_turn_that_repeats_the_last_words_is_cut_there() {
        for (said, next) in [
            ("The river runs from the", " hills to the sea."),
            ("The river runs from the", "from the hills to the sea."),
            ("The river runs from the", "... runs  from the hills to the sea."),
            ("The river runs from the ", "The river runs from the hills to the sea."),
        ] {
            assert_eq!(spliced(Way::Turn, said, &[next]).as_deref(), Ok(WHOLE), "{said:?} {next:?}");
        }
    }

    fn cut(text: &str, cuts: &[usize]) -> Vec<String> {
        let characters: Vec<char> = text.chars().collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (characters.len() + 1)).collect();
        cuts.extend([0, characters.len()]);
        cuts.sort_unstable();
        cuts.windows(2).map(|cut| characters[cut[0]..cut[1]].iter().collect()).collect()
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_same_answer_fits_to_the_letter(
            text in "[a-zäß🦀 \n]{0,60}",
            broke_at: usize,
            cuts in prop::collection::vec(any::<usize>(), 0..8),
        ) {
            let characters: Vec<char> = text.chars().collect();
            let said: String = characters[..broke_at % (characters.len() + 1)].iter().collect();
            let pieces = cut(&text, &cuts);
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let went = spliced(Way::Afresh, &said, &pieces).unwrap();
            let words = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(words(&went), words(&text));
            prop_assert!(went.starts_with(&said));
        }

        #[test]
        fn any_pieces_are_taken_without_harm(
            said in "\\PC{0,40}",
            pieces in prop::collection::vec("\\PC{0,20}", 0..6),
        ) {
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            for way in [Way::Prefill, Way::Afresh, Way::Turn] {
                if let Ok(went) = spliced(way, &said, &pieces) {
                    prop_assert!(went.starts_with(&said));
                }
            }
        }
    }
}
