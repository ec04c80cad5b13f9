//! Server-sent events, written and read.
//!
//! The decoder is ours because the known ones buffer without bound: an upstream that sends one endless line would
//! take the process with it. Bytes may be cut anywhere, within a character too; the same events come out.

/// The longest line, in bytes. A line holds one whole chunk of a completion, images at most as references.
pub const LINE_BYTES_MAX: usize = 4 << 20;
/// The largest event, over all its lines, in bytes.
pub const EVENT_BYTES_MAX: usize = 4 << 20;
/// The largest stream, in bytes: 128,000 tokens of one chunk each come to about 32 MiB.
pub const STREAM_BYTES_MAX: usize = 64 << 20;
/// How much is kept of what stands in a stream without being an event.
const STRAY_BYTES_MAX: usize = 64 << 10;

/// A comment line that keeps a silent connection from being cut by a proxy.
pub const HEARTBEAT: &[u8] = b":\n\n";
/// The event by which OpenAI's and our own streams say that they ended well.
pub const DONE: &[u8] = b"data: [DONE]\n\n";

/// Appends an unnamed event whose data is written by `data` and has no line breaks, as JSON never has.
pub fn event(out: &mut Vec<u8>, data: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"data: ");
    let from = out.len();
    data(out);
    debug_assert!(!out[from..].iter().any(|byte| matches!(byte, b'\n' | b'\r')));
    out.extend_from_slice(b"\n\n");
}

/// Appends an event of this name, as [`event`] does.
pub fn named_event(out: &mut Vec<u8>, name: &str, data: impl FnOnce(&mut Vec<u8>)) {
    debug_assert!(!name.contains(['\n', '\r']));
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.push(b'\n');
    event(out, data);
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The `event:` field, where it has one.
    pub name: Option<String>,
    /// The `data:` lines, joined by line feeds.
    pub data: String,
}

/// Why a stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    #[error("a line of the event stream is longer than {LINE_BYTES_MAX} bytes")]
    LineTooLong,
    #[error("an event is larger than {EVENT_BYTES_MAX} bytes")]
    EventTooLarge,
    #[error("the event stream is larger than {STREAM_BYTES_MAX} bytes")]
    StreamTooLarge,
    #[error("the event stream is not UTF-8")]
    NotUtf8,
}

/// Turns bytes, cut anywhere, into events.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The line under way.
    line: Vec<u8>,
    name: Option<String>,
    /// The data of the event under way; `None` until its first `data` line.
    data: Option<String>,
    /// Lines that belong to no event.
    stray: String,
    /// Whether the last byte was a carriage return, so that a line feed now belongs to it.
    after_return: bool,
    /// Whether the first line, which may begin with a byte order mark, is behind us.
    past_first_line: bool,
    bytes: usize,
}

impl Decoder {
    /// Takes the next bytes and returns the events that they complete. Comments complete nothing.
    ///
    /// # Errors
    /// When a limit is passed or a line is not UTF-8; the stream is of no use after that.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<Vec<Event>, SseError> {
        let mut events = Vec::new();
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.bytes > STREAM_BYTES_MAX {
            return Err(SseError::StreamTooLarge);
        }
        // An empty chunk says nothing of what follows a carriage return.
        if bytes.is_empty() {
            return Ok(events);
        }
        if std::mem::take(&mut self.after_return) {
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let is_return = bytes[end] == b'\r';
            self.push(&bytes[..end])?;
            bytes = &bytes[end + 1..];
            events.extend(self.end_line()?);
            if is_return {
                self.after_return = bytes.is_empty();
                bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            }
        }
        self.push(bytes)?;
        Ok(events)
    }

    /// Returns the event that the end of the stream left without its empty line. Servers forget that line after the
    /// last event; one that was really cut short is no JSON any more, and its reader will see that.
    ///
    /// # Errors
    /// As [`Decoder::feed`].
    pub fn finish(&mut self) -> Result<Option<Event>, SseError> {
        if !self.line.is_empty() {
            self.end_line()?;
        }
        Ok(self.take_event())
    }

    /// Returns the beginning of what stood in the stream without being an event: some servers put their errors there,
    /// as bare JSON or as a field `error`.
    pub fn stray(&self) -> &str {
        &self.stray
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), SseError> {
        if self.line.len() + bytes.len() > LINE_BYTES_MAX {
            return Err(SseError::LineTooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self) -> Result<Option<Event>, SseError> {
        let mut line = std::mem::take(&mut self.line);
        let ended = self.read_line(&line);
        line.clear();
        self.line = line;
        ended
    }

    fn read_line(&mut self, line: &[u8]) -> Result<Option<Event>, SseError> {
        let mut line = std::str::from_utf8(line).map_err(|_| SseError::NotUtf8)?;
        if !std::mem::replace(&mut self.past_first_line, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            return Ok(self.take_event());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.name = Some(value.to_owned()),
            "data" => match &mut self.data {
                None => self.data = Some(value.to_owned()),
                Some(data) => {
                    if data.len() + value.len() >= EVENT_BYTES_MAX {
                        return Err(SseError::EventTooLarge);
                    }
                    data.push('\n');
                    data.push_str(value);
                }
            },
            // A comment has an empty field name; `id` and `retry` serve reconnection, which a generation cannot do.
            "" | "id" | "retry" => {}
            "error" => self.keep_stray(value),
            _ => self.keep_stray(line),
        }
        Ok(None)
    }

    fn keep_stray(&mut self, line: &str) {
        if self.stray.len() + line.len() < STRAY_BYTES_MAX {
            self.stray.push_str(line);
            self.stray.push('\n');
        }
    }

    /// Returns the event under way if it has data; a name alone is no event.
    fn take_event(&mut self) -> Option<Event> {
        let name = self.name.take();
        self.data.take().map(|data| Event { name, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Event>, SseError> {
        let mut decoder = Decoder::default();
        let mut events = Vec::new();
        for chunk in chunks {
            events.extend(decoder.feed(chunk)?);
        }
        events.extend(decoder.finish()?);
        Ok(events)
    }

    fn datas(text: &str) -> Vec<String> {
        decoded([text.as_bytes()]).unwrap().into_iter().map(|event| event.data).collect()
    }

    #[test]
    fn every_line_end_space_comment_and_mark_is_understood() {
        assert_eq!(datas("data: a\n\ndata:b\r\n\r\ndata: c\r\rdata:  d\n\n"), ["a", "b", "c", " d"]);
        assert_eq!(datas("\u{feff}data: a\n\n"), ["a"]);
        assert_eq!(datas(": ping\n\n: ping\ndata: a\n:\n\n"), ["a"]);
        assert_eq!(datas("data: a\ndata\ndata: b\n\n"), ["a\n\nb"]);
        assert_eq!(datas("id: 1\nretry: 5\nfoo\n\n"), [""; 0]);
        let named = decoded([b"event: ping\ndata: {}\n\nevent: lost\n\ndata: x\n\n".as_slice()]).unwrap();
        assert_eq!(named[0], Event { name: Some("ping".into()), data: "{}".into() });
        assert_eq!(named[1], Event { name: None, data: "x".into() });
    }

    #[test]
    fn an_empty_chunk_between_the_two_bytes_of_a_line_end_changes_nothing() {
        let chunks = ["event: a\r", "", "\ndata: b\n\n"].map(str::as_bytes);
        assert_eq!(decoded(chunks).unwrap(), [Event { name: Some("a".into()), data: "b".into() }]);
    }

    #[test]
    fn what_is_no_event_is_kept_up_to_a_limit() {
        let mut decoder = Decoder::default();
        let bytes = b"data: a\n\n{\n  \"error\": {\"code\": 503}\n}\n";
        assert_eq!(decoder.feed(bytes).unwrap().len(), 1);
        assert_eq!(decoder.stray(), "{\n  \"error\": {\"code\": 503}\n}\n");
        let mut decoder = Decoder::default();
        decoder.feed(b"error: {\"code\": 500}\n\n").unwrap();
        assert_eq!(decoder.stray(), "{\"code\": 500}\n");
        decoder.feed(&b"stray\n".repeat(100_000)).unwrap();
        assert!(decoder.stray().len() <= STRAY_BYTES_MAX);
    }

    #[test]
    fn the_last_event_needs_no_empty_line() {
        assert_eq!(datas("data: a\n\ndata: [DONE]"), ["a", "[DONE]"]);
    }

    #[test]
    fn what_has_no_end_is_cut_off() {
        let megabyte = vec![b'x'; 1 << 20];
        let endless_line = std::iter::repeat_n(megabyte.as_slice(), 100);
        assert_eq!(decoded(endless_line), Err(SseError::LineTooLong));

        let line = [b"data: ".as_slice(), &megabyte, b"\n"].concat();
        assert_eq!(decoded(std::iter::repeat_n(line.as_slice(), 100)), Err(SseError::EventTooLarge));

        let mut decoder = Decoder { bytes: STREAM_BYTES_MAX - 1, ..Decoder::default() };
        assert_eq!(decoder.feed(b"\n"), Ok(Vec::new()));
        assert_eq!(decoder.feed(b"\n"), Err(SseError::StreamTooLarge));
    }

    #[test]
    fn what_is_not_utf8_is_refused() {
        assert_eq!(decoded([b"data: \xff\n\n".as_slice()]), Err(SseError::NotUtf8));
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_events(
            lines in prop::collection::vec(
                ("(data|event|id|)", "(:|: |)", "[a-zé🦀:\u{feff} ]{0,6}", "(\n|\r|\r\n)", "(\n|\r|\r\n|)"),
                0..12,
            ),
            mark in any::<bool>(),
            cuts in prop::collection::vec(0..200_usize, 0..20),
        ) {
            let mut text = String::from(if mark { "\u{feff}" } else { "" });
            for (field, colon, value, end, empty) in lines {
                text.extend([field, colon, value, end, empty]);
            }
            let bytes = text.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]);
            let whole = decoded([bytes]).unwrap();
            prop_assert_eq!(&decoded(chunks).unwrap(), &whole);
            prop_assert_eq!(&decoded(bytes.chunks(1)).unwrap(), &whole);
        }

        #[test]
        fn what_is_written_is_read(data in "[^\r\n]*") {
            let mut bytes = HEARTBEAT.to_vec();
            event(&mut bytes, |out| out.extend_from_slice(data.as_bytes()));
            prop_assert_eq!(decoded([bytes.as_slice()]).unwrap(), [Event { name: None, data: data.clone() }]);
            bytes.clear();
            named_event(&mut bytes, "response.created", |out| out.extend_from_slice(data.as_bytes()));
            let name = Some("response.created".to_owned());
            prop_assert_eq!(decoded([bytes.as_slice()]).unwrap(), [Event { name, data }]);
        }
    }
}
