//! Are the characters of a text those that were meant?
//!
//! Three ways in which they are not: what could not be decoded and became U+FFFD, control characters that no text has,
//! and UTF-8 that somebody read as Latin-1 or Windows-1252 (`Ã©` for `é`). A few of any of them are a flaw; a text that
//! is made of them is broken. One that speaks about them has them too, and so has its question.

/// Fewer broken characters than this are a flaw and no defect: an emoji that was cut in two, a terminal's escapes.
const BROKEN_MIN: usize = 8;
/// One broken character among so many: a text of mostly whole words can be read.
const BROKEN_ONE_IN: usize = 50;
/// One control character among so many: nobody sees them, and where they come instead of letters, there are more.
const CONTROLS_ONE_IN: usize = 10;

/// How many characters of a text are broken, and in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Breakage {
    characters: usize,
    /// Beyond ASCII.
    foreign: usize,
    replaced: usize,
    controls: usize,
    /// Characters that are bytes of UTF-8 read as characters.
    misread: usize,
}

impl Breakage {
    /// Reads a text once.
    pub(super) fn of(text: &str) -> Self {
        let mut breakage = Self::default();
        let mut misread = Misread::default();
        for char in text.chars() {
            breakage.characters += 1;
            if !char.is_ascii() {
                breakage.foreign += 1;
            }
            match char {
                char::REPLACEMENT_CHARACTER => breakage.replaced += 1,
                char if is_stray_control(char) => breakage.controls += 1,
                _ => {}
            }
            breakage.misread += misread.read(char);
        }
        breakage
    }

    /// Returns whether the text cannot be read.
    pub(super) fn is_broken(self) -> bool {
        self.ways().contains(&true)
    }

    /// Returns whether every way in which this text is broken is one in which the question is broken at all.
    pub(super) fn is_shared_by(self, question: Self) -> bool {
        let asked = [question.replaced, question.controls, question.misread];
        self.ways().into_iter().zip(asked).all(|(is_broken, asked)| !is_broken || asked > 0)
    }

    /// Returns the share of broken characters, in [0, 1], of the kinds that the question has none of.
    pub(super) fn share_unlike(self, question: Self) -> f64 {
        let unlike = |here: usize, there: usize| if there == 0 { here } else { 0 };
        let broken = unlike(self.replaced, question.replaced)
            + unlike(self.controls, question.controls)
            + unlike(self.misread, question.misread);
        broken.min(self.characters) as f64 / self.characters.max(1) as f64
    }

    /// Returns the breakage of two texts together.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            characters: self.characters + other.characters,
            foreign: self.foreign + other.foreign,
            replaced: self.replaced + other.replaced,
            controls: self.controls + other.controls,
            misread: self.misread + other.misread,
        }
    }

    /// Returns whether the text cannot be read for the characters that were replaced, that are controls, that were
    /// misread.
    fn ways(self) -> [bool; 3] {
        let is_one_in = |many: usize, broken: usize| broken >= BROKEN_MIN && broken * many >= self.characters;
        // Where UTF-8 was misread, hardly anything beyond ASCII is left whole; a text about it shows both.
        let is_misread = is_one_in(BROKEN_ONE_IN, self.misread) && self.misread * 10 >= self.foreign * 9;
        let is_replaced = is_one_in(BROKEN_ONE_IN, self.replaced);
        [is_replaced, is_one_in(CONTROLS_ONE_IN, self.controls), is_misread]
    }
}

/// Tabs, line and page breaks, backspace and escape have their uses; the rest of them no text has.
fn is_stray_control(char: char) -> bool {
    char.is_control()
        && !matches!(char, '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{8}' | '\u{1b}' | '\u{85}')
}

/// Follows characters that could be the bytes of one character in UTF-8.
#[derive(Default)]
struct Misread {
    /// Bytes still wanted.
    wanted: usize,
    /// Bytes seen, the first one included.
    seen: usize,
}

impl Misread {
    /// Returns how many characters have turned out to be the bytes of one: none until its last has come.
    fn read(&mut self, char: char) -> usize {
        let Some(byte) = byte_of(char) else {
            *self = Self::default();
            return 0;
        };
        if self.wanted > 0 && (0x80..=0xbf).contains(&byte) {
            self.wanted -= 1;
            self.seen += 1;
            return if self.wanted == 0 { self.seen } else { 0 };
        }
        let wanted = match byte {
            0xc2..=0xdf => 1,
            0xe0..=0xef => 2,
            0xf0..=0xf4 => 3,
            _ => 0,
        };
        *self = Self { wanted, seen: usize::from(wanted > 0) };
        0
    }
}

/// Windows-1252's characters for the bytes 0x80 to 0x9F; five of them have none.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// Returns the byte beyond ASCII that a character stands for in Latin-1 or Windows-1252.
fn byte_of(char: char) -> Option<u8> {
    match u32::from(char) {
        code @ 0x80..=0xff => u8::try_from(code).ok(),
        0x152..=0x2122 => {
            let at = WINDOWS_1252.iter().position(|known| *known == char)?;
            u8::try_from(0x80 + at).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_broken(text: &str) -> bool {
        Breakage::of(text).is_broken()
    }

    /// What a server shows that sends UTF-8 and says Windows-1252.
    fn misread(text: &str) -> String {
        text.bytes()
            .map(|byte| match byte {
                0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
                _ => char::from(byte),
            })
            .collect()
    }

    #[test]
    fn a_text_of_replacement_characters_is_broken_and_one_with_a_few_is_not() {
        assert!(is_broken(&"\u{fffd}".repeat(40)));
        assert!(is_broken(
            "La r\u{fffd}\u{fffd}volution fran\u{fffd}\u{fffd}aise a commenc\u{fffd}\u{fffd} en \u{fffd}\u{fffd}t\u{fffd}\u{fffd}."
        ));
        assert!(!is_broken("Well done \u{fffd}\u{fffd}\u{fffd}\u{fffd}"));
        assert!(!is_broken(&format!(
            "{} \u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
            "word ".repeat(200)
        )));
    }

    #[test]
    fn control_characters_in_quantity_are_broken_and_a_coloured_terminal_is_not() {
        assert!(is_broken("\u{0}\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{e}\u{f}"));
        assert!(!is_broken("NUL is written \u{0}, and BEL \u{7}."));
        assert!(!is_broken(&"NUL is \u{0}, DEL is \u{7f}, and both are odd characters. ".repeat(20)));
        assert!(!is_broken(&"\u{1b}[31mred\u{1b}[0m\r\n\t".repeat(20)));
    }

    #[test]
    fn utf_8_read_as_another_encoding_is_broken_in_every_script() {
        for text in [
            "L’été dernier, les élèves étaient très fatigués après l’école, où déjà ils avaient été punis.",
            "Привет! Столица Франции — Париж, и это знает каждый.",
            "フランスの首都はパリです。",
            "你好，世界。法国的首都是巴黎。",
            "Größe und Übermut tun selten gut; schön wär’s, können müsste man’s dürfen.",
        ] {
            assert!(is_broken(&misread(text)), "{}", misread(text));
            assert!(!is_broken(text), "{text}");
        }
    }

    #[test]
    fn an_answer_that_speaks_of_broken_text_is_not_broken() {
        let table = "| meant | shown |\n|---|---|\n| é | Ã© |\n| è | Ã¨ |\n| ü | Ã¼ |\n| ö | Ã¶ |\n| ñ | Ã± |\n| ç | Ã§ |\n";
        assert!(!is_broken(table));
        let asked = Breakage::of("Why does my page say caf\u{fffd}?");
        assert!(Breakage::of(&"\u{fffd}".repeat(40)).is_shared_by(asked));
        let asked = Breakage::of("Translate into bytes: Ã©");
        assert!(Breakage::of(&"Ã©".repeat(40)).is_shared_by(asked));
        assert!(!Breakage::of(&"Ã©\u{fffd}".repeat(40)).is_shared_by(asked));
    }

    #[test]
    fn letters_with_accents_in_a_row_are_no_bytes() {
        for text in
            ["MENÜ“ ÜBER „ÄÖÜ“ ÀÉÈÊ ÇÀ ÑÑ", "ÁÉÍÓÚÂÊÔÃÕÇÀ", "åäö ÅÄÖ æøå ÆØÅ", "«Où ?» «Là…» «Ô temps !»"]
        {
            assert!(!is_broken(&text.repeat(10)), "{text}");
        }
    }
}
